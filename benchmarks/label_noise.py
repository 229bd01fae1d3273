"""The share of label noise put into a corpus that `teddy check --deep` finds, and its cost.

    python -m benchmarks.label_noise dev.conll other.conll --seeds 3
    python -m benchmarks.label_noise mine.toml --data corpora --change dropped

Of the annotated entities of each file (of a recipe: of its dev data), a share is changed at random:

    label      the entity keeps its borders and gets another label of the data, all alike probable
    dropped    the entity is not marked any more
    borders    its end moves by a word: outwards if the next word is free, else inwards; entities of
               one word beside another one are not chosen

The check does not know which they are. What it doubts is ranked by suspicion: for `label`
all annotated entities, for `dropped` what it misses, for `borders` what it would draw elsewhere.
Found are the changed ones among the first 3 per cent, counted from the number of annotated entities
(rounded up). What was wrong in the corpus before counts as not found, so that a corpus with much
noise of its own gives low figures."""

import argparse
import math
import random
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.arguments import check_files
from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.check.finding_kinds import FindingKind
from teddy.training.check.noise import NoiseOptions, Suspect, find_noise
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus, load_corpora
from teddy.training.data.named_file import file_config, load_file
from teddy.training.data.readers import read_examples
from teddy.training.recipe.recipe import load_recipe

CHANGES = {
    "label": FindingKind.LABEL_NOISE,
    "dropped": FindingKind.MISSING_NOISE,
    "borders": FindingKind.BORDER_NOISE,
}
TOP_SHARE = 0.03
Place = tuple[str, int, tuple[str, ...], int]
"""Of an annotation: path, line and words of its sentence, and its first word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one run found of what was changed."""

    changed: int
    found: int
    top: int
    annotations: int
    seconds: float
    processor_seconds: float

    @property
    def share(self) -> float:
        """Of the changed ones."""
        return self.found / self.changed


def spoil(
    corpora: Sequence[Corpus], labels: Sequence[str], how: str, share: float, seed: int
) -> tuple[list[Corpus], set[Place]]:
    """Change a share of the dev annotations as this file's head says; return the changed places."""
    draw = random.Random(seed)  # noqa: S311
    places = [
        place_of(sentence, span)
        for corpus in corpora
        for sentence in corpus.dev
        for span in sentence.spans
        if how != "borders" or moved(sentence, span)
    ]
    chosen = set(draw.sample(places, max(1, round(share * len(places)))))
    spoilt = [
        replace(
            corpus,
            dev=[spoil_sentence(sentence, chosen, labels, how, draw) for sentence in corpus.dev],
        )
        for corpus in corpora
    ]
    return spoilt, chosen


def spoil_sentence(
    sentence: Sentence, chosen: set[Place], labels: Sequence[str], how: str, draw: random.Random
) -> Sentence:
    """Change those of a sentence's annotations that were chosen."""
    spans: list[Span] = []
    for span in sentence.spans:
        if place_of(sentence, span) not in chosen:
            spans.append(span)
        elif how == "label":
            spans.append(
                replace(span, label=draw.choice([label for label in labels if label != span.label]))
            )
        elif how == "borders":
            spans.append(moved(sentence, span) or span)
    return replace(sentence, spans=tuple(spans))


def moved(sentence: Sentence, span: Span) -> Span | None:
    """Return the span with its end moved by a word, or None where it cannot be."""
    taken = {word for other in sentence.spans for word in range(other.start, other.end)}
    if span.end < len(sentence.words) and span.end not in taken:
        return replace(span, end=span.end + 1)
    return replace(span, end=span.end - 1) if span.end - span.start > 1 else None


def place_of(sentence: Sentence, span: Span) -> Place:
    return sentence.path, sentence.line, sentence.words, span.start


def measure(
    corpora: Sequence[Corpus],
    labels: Sequence[str],
    how: str,
    options: NoiseOptions,
    chosen: set[Place],
) -> Found:
    """Look for noise and count what of it stands among the first 3 per cent."""
    started, before = time.perf_counter(), processor_seconds()
    suspects = find_noise(corpora, labels, options, lambda _: None).of_kind(CHANGES[how])
    seconds, spent = time.perf_counter() - started, processor_seconds() - before
    n_annotations = sum(len(sentence.spans) for corpus in corpora for sentence in corpus.dev)
    top = math.ceil(TOP_SHARE * n_annotations)
    known = {
        (sentence.path, sentence.line, sentence.words)
        for corpus in corpora
        for sentence in corpus.dev
    }
    first = [each for each in suspects if key_of(each) in known][:top]
    return Found(
        changed=len(chosen),
        found=len(chosen & {place for suspect in first for place in places_of(suspect)}),
        top=top,
        annotations=n_annotations,
        seconds=seconds,
        processor_seconds=spent,
    )


def key_of(suspect: Suspect) -> tuple[str, int, tuple[str, ...]]:
    return suspect.sentence.path, suspect.sentence.line, suspect.sentence.words


def places_of(suspect: Suspect) -> Iterator[Place]:
    """Return the place of the doubted annotation; of a missing one, each word that may begin it."""
    if suspect.given is not None:
        yield place_of(suspect.sentence, suspect.given)
    elif suspect.proposed is not None:
        for word in range(suspect.proposed.start, suspect.proposed.end):
            yield (*key_of(suspect), word)


def processor_seconds() -> float:
    """Of this process and of those of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def read(source: Path, data: Path) -> tuple[list[Corpus], tuple[str, ...]]:
    """Read a file, as a corpus that is all dev, or the corpora of a recipe; and the labels."""
    if source.suffix == ".toml":
        recipe = load_recipe(source)
        return load_corpora(recipe, data), recipe.labels
    examples = read_examples(source, file_config(source, ()))
    labels = sorted({span.label for example in examples for span in example.spans})
    return [load_file(source, labels, Tokeniser())], tuple(labels)


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sources", nargs="+", type=Path, metavar="DATA", help="data files or recipes"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="what a recipe's files are relative to",
    )
    parser.add_argument("--change", choices=list(CHANGES), default="label")
    parser.add_argument("--share", type=float, default=0.02, help="of the annotated entities")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="of the changes: 1 to N")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--start", choices=["auto", "en", "none"], default="auto")
    arguments = parser.parse_args()
    check_files(parser, arguments.sources)
    options = NoiseOptions(folds=arguments.folds, start=arguments.start)
    for source in arguments.sources:
        corpora, labels = read(source, arguments.data)
        runs: list[Found] = []
        for seed in range(1, arguments.seeds + 1):
            spoilt, chosen = spoil(corpora, labels, arguments.change, arguments.share, seed)
            run = measure(spoilt, labels, arguments.change, options, chosen)
            print(
                f"{source.name}, {arguments.change}, seed {seed}: {run.found} of {run.changed} "
                f"changed among the first {run.top} of {run.annotations:,} ({run.share:.0%}), "
                f"{run.seconds:.0f} s, "
                f"{run.processor_seconds:.0f} s of processors",
                flush=True,
            )
            runs.append(run)
        mean = statistics.mean(run.share for run in runs)
        print(f"{source.name}, {arguments.change}: {mean:.0%} on average")


if __name__ == "__main__":
    main()
