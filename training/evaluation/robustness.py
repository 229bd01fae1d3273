"""What becomes of a tagger's scores when sentences are not written as those that it learnt from.

Each perturbation of `teddy.training.data.perturbations` is made in all sentences, and the tagger is
measured on what they have become. No gold entity gets lost, so that the rows of the table are of
the same entities.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from teddy.training.data.align import Sentence
from teddy.training.data.perturbations import lower, mistyped, title, unpunctuated, upper
from teddy.training.evaluation.evaluate import Predict, evaluate
from teddy.training.evaluation.scores import Counts
from teddy.training.learning.input_noise import join_in_twos
from teddy.training.learning.torch_setup import generator
from teddy.training.report.markdown import code, markdown_table, percent

PERTURBATIONS = ("clean", "lower", "upper", "title", "unpunctuated", "typos", "joined")
"""In the order in which they are measured; all but the first are keys of a recipe's `[augment]`
table."""

_CHANGES: dict[str, Callable[[Sentence], Sentence | None]] = {
    "lower": lower,
    "upper": upper,
    "title": title,
    "unpunctuated": unpunctuated,
}
_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbed:
    """Strict span scores on perturbed sentences, of which `n_changed` differ from the original."""

    counts: Counts
    n_changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """The scores under each perturbation by its name; the first, `clean`, changes nothing."""

    n_sentences: int
    by_perturbation: dict[str, Perturbed]

    def as_dict(self) -> dict[str, object]:
        """Give everything ready for JSON; ratios are 0 to 1."""
        return {
            "sentences": self.n_sentences,
            "by_perturbation": {
                name: {**each.counts.as_dict(), "changed": each.n_changed}
                for name, each in self.by_perturbation.items()
            },
        }

    def table(self) -> list[str]:
        """Write the lines of a table for a terminal, ratios in per cent."""
        width = max(map(len, self.by_perturbation))
        clean = self.by_perturbation["clean"].counts.f1
        return [
            f"{'':{width}}  precision  recall      F1  difference  sentences changed",
            *(
                f"{name:{width}}  {each.counts.precision:9.2%} {each.counts.recall:7.2%}"
                f" {each.counts.f1:7.2%}"
                f"  {each.counts.f1 - clean:+10.2%}  {each.n_changed:17,}"
                for name, each in self.by_perturbation.items()
            ),
        ]

    def section(self) -> Iterator[str]:
        """Write the lines of a section of a Markdown report."""
        clean = self.by_perturbation["clean"].counts.f1
        yield "## Written in another way"
        yield ""
        yield f"The scores of the same {self.n_sentences:,} sentences, perturbed as by `[augment]`:"
        yield ""
        rows = []
        for name, each in self.by_perturbation.items():
            counts = each.counts
            ratios = map(percent, (counts.precision, counts.recall, counts.f1))
            rows.append([code(name), *ratios, f"{counts.f1 - clean:+.2%}", f"{each.n_changed:,}"])
        heads = ["", "precision", "recall", "F1", "difference", "sentences changed"]
        yield from markdown_table(heads, rows)


def measure_robustness(
    predict: Predict,
    sentences: Sequence[Sentence],
    annotates: Mapping[str, Collection[str]] | None = None,
    *,
    labels: Iterable[str] = (),
    seed: int = _SEED,
) -> Robustness:
    """Evaluate `predict` on all sentences under each perturbation; arguments as of `evaluate`.

    The seed decides which words are mistyped, and how; the same one always gives the same
    sentences.
    """
    labels = tuple(labels)
    measured: dict[str, Perturbed] = {}
    for name in PERTURBATIONS:
        become = perturbed(name, sentences, seed)
        unchanged = set(map(id, become))
        measured[name] = Perturbed(
            counts=evaluate(predict, become, annotates, labels=labels, worst=0).scores.micro,
            n_changed=sum(id(sentence) not in unchanged for sentence in sentences),
        )
    return Robustness(n_sentences=len(sentences), by_perturbation=measured)


def perturbed(name: str, sentences: Sequence[Sentence], seed: int = _SEED) -> list[Sentence]:
    """Return the sentences under one of `PERTURBATIONS`.

    Those that stay as they are, are the same objects.
    """
    if name == "joined":
        return join_in_twos(sentences)
    if name == "clean":
        return list(sentences)
    random = generator(seed)
    change = partial(mistyped, random=random) if name == "typos" else _CHANGES[name]
    return [change(sentence) or sentence for sentence in sentences]
