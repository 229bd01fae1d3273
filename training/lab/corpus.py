"""The corpora of the laboratory, the user's or made up, and taggers trained on them."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.errors import TrainingError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.network.tagger_network import Network
from teddy.model.system.files import write_atomically
from teddy.model.tagger import Tagger
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus, load_corpora
from teddy.training.data.vocabulary import train_pieces
from teddy.training.evaluation.scores import Counts
from teddy.training.lab.page import SizeName
from teddy.training.learning.torch_setup import seed_torch
from teddy.training.loop import Trainer
from teddy.training.recipe.recipe import Recipe, TrainingConfig, load_recipe
from teddy.training.recipe.words import PiecesConfig

Predict = Callable[[Sequence[Sequence[str]]], list[list[Span]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    n_train: int
    n_dev: int
    epochs: int
    width: int


_SIZES: dict[SizeName, _Size] = {
    "tiny": _Size(n_train=9, n_dev=6, epochs=1, width=8),
    "quick": _Size(n_train=240, n_dev=150, epochs=8, width=24),
    "full": _Size(n_train=900, n_dev=400, epochs=8, width=32),
}
_NAMES = ("Teddy", "Jordan", "Lincoln", "Victoria")
_ASIDES = ("", "", "", ", I think ,", ", as we heard ,")
_ASIDES_AFTER = ("", "", "really", ", I think ,", ", as we heard ,")
"""So a telling word that stands after the name is 1, 2, 5 or 6 words away."""
_PERSON_AFTER = ("was elected president", "smiled and sat down")
_TOY_AFTER = ("is soft and brown", "lost a button")
_PERSON_BEFORE = ("our old neighbour", "the president")
_TOY_BEFORE = ("a soft toy", "this plush bear")
_SURNAMES, _TOYS = ("Roosevelt", "Marsh"), ("bears", "dolls")


def telling_sentences(n: int, seed: int) -> Iterator[tuple[str, str, Span]]:
    """Yield sentences with one name, a person or a toy, and where the word stands that tells which.

    The names say nothing by themselves: each is as often a person as a toy. The span is in words.
    """
    draw = random.Random(seed)  # noqa: S311
    for place in range(n):
        where, label = ("after", "before", "inside")[place % 3], draw.choice(("PER", "TOY"))
        person, name, before = label == "PER", draw.choice(_NAMES), "He said ,"
        aside = draw.choice(_ASIDES if where == "before" else _ASIDES_AFTER)
        if where == "after":
            tail = f"{aside} {draw.choice(_PERSON_AFTER if person else _TOY_AFTER)} ."
        elif where == "before":
            before = f"{draw.choice(_PERSON_BEFORE if person else _TOY_BEFORE)} {aside}"
            tail = "is here ."
        else:
            name = f"{name} {draw.choice(_SURNAMES if person else _TOYS)}"
            tail = f"{aside} came too ."
        start, text = len(before.split()), " ".join(f"{before} {name} {tail}".split())
        yield where, text, Span(start, start + len(name.split()), label)


def write_telling_corpus(directory: Path, size: SizeName) -> Path:
    """Write made-up sentences, a corpus for each place of the telling word, and their recipe."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = ['name = "telling"', 'language = "en"', 'labels = ["PER", "TOY"]']
    parts: dict[tuple[str, str], list[str]] = {}
    for part, n, seed in (("train", _SIZES[size].n_train, 1), ("dev", _SIZES[size].n_dev, 2)):
        for where, text, span in telling_sentences(n, seed):
            tags = ["O"] * len(text.split())
            tags[span.start : span.end] = [f"I-{span.label}"] * (span.end - span.start)
            rows = (f"{word} {tag}" for word, tag in zip(text.split(), tags, strict=True))
            parts.setdefault((where, part), []).append("\n".join(rows) + "\n")
    for (where, part), sentences in parts.items():
        write_atomically(directory / f"{where}.{part}.conll", "\n".join(sentences))
    for where in ("before", "inside", "after"):
        lines += ["[[corpus]]", f'name = "{where}"', 'licence = "made up"', 'scheme = "io"']
        lines += [f'train = ["{where}.train.conll"]', f'dev = ["{where}.dev.conll"]']
    path = directory / "telling.toml"
    write_atomically(path, "\n".join(lines) + "\n")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the taggers of an experiment learn from."""

    name: str
    is_made_up: bool
    labels: tuple[str, ...]
    corpora: list[Corpus]
    features: WordFeatures
    network: NetworkConfig
    training: TrainingConfig

    @property
    def dev(self) -> list[Sentence]:
        """The sentences to measure on."""
        return [sentence for corpus in self.corpora for sentence in corpus.dev]

    def kind_of(self, sentence: Sentence, span: Span) -> str:
        """Say where an entity stands: by the telling word, or else by what is beside it."""
        if self.is_made_up:
            return f"telling word {sentence.corpus}"
        if span.start == 0:
            return "nothing before it"
        return "at most a word after it" if span.end >= len(sentence.words) - 1 else "between words"

    def about(self) -> str:
        """Say what it is, in a sentence."""
        n_train = sum(len(corpus.train) for corpus in self.corpora)
        what = self.name if self.is_made_up else f"sentences of {self.name}"
        return f"{n_train:,} {what} to learn from, {len(self.dev):,} others to measure on."


def open_material(recipe_file: Path | None, data: Path, output: Path, size: SizeName) -> Material:
    """Read the corpora of a recipe, a sample of each, or make some up.

    Raises DataError and RecipeError for mistakes in the files, TrainingError where a part is empty.
    """
    bounds = _SIZES[size]
    made_up = recipe_file is None
    if recipe_file is None:
        data = output / "telling"
        recipe_file = write_telling_corpus(data, size)
    recipe: Recipe = load_recipe(recipe_file)
    corpora = load_corpora(recipe, data)
    share = 1 if made_up else len(corpora)
    corpora = [
        replace(
            corpus,
            train=_sample(corpus.train, bounds.n_train // share),
            dev=_sample(corpus.dev, bounds.n_dev // share),
        )
        for corpus in corpora
    ]
    for part in ("train", "dev"):
        if not any(getattr(corpus, part) for corpus in corpora):
            raise TrainingError(f"{recipe_file}: the corpora have no {part} sentences")
    counts = Counter(word for corpus in corpora for each in corpus.train for word in each.words)
    pieces = train_pieces(counts, PiecesConfig(vocabulary=1000))
    # Made-up sentences have nothing to overfit to.
    dropout, batch_words = (0.0, 100) if made_up else (0.2, 250)
    return Material(
        name="made-up sentences" if made_up else recipe.name,
        is_made_up=made_up,
        labels=recipe.labels,
        corpora=corpora,
        features=WordFeatures(Pieces(pieces), FeatureConfig(shape_rows=64, affix_rows=1024)),
        network=NetworkConfig(
            embedding_width=bounds.width,
            hidden_width=bounds.width,
            layers=1,
            normalise=True,
            embedding_dropout=dropout,
            layer_dropout=dropout,
        ),
        training=TrainingConfig(
            epochs=bounds.epochs,
            batch_words=batch_words,
            learning_rate=0.02,
            final_learning_rate_share=0.2,
            word_dropout=dropout / 4,
            feature_dropout=dropout,
            average_decay=0.9,
            patience=0,
            evaluations_per_epoch=1 / bounds.epochs,
            mixed_precision="fp32",
            device="cpu",
        ),
    )


def _sample(sentences: Sequence[Sentence], n: int) -> list[Sentence]:
    """Return at most `n` sentences, drawn by chance, in their order."""
    if len(sentences) <= n:
        return [*sentences]
    kept = sorted(random.Random(1).sample(range(len(sentences)), n))  # noqa: S311
    return [sentences[place] for place in kept]


def mirrored(sentence: Sentence) -> Sentence:
    """Return a sentence with its words in the opposite order; its text stays as it is."""
    n = len(sentence.words)
    return replace(
        sentence,
        words=sentence.words[::-1],
        offsets=sentence.offsets[::-1],
        spans=tuple(mirrored_spans(sentence.spans, n)),
        unknown=tuple((n - end, n - start) for start, end in reversed(sentence.unknown)),
    )


def mirrored_spans(spans: Sequence[Span], n_words: int) -> list[Span]:
    """Return spans of a sentence of so many words in the opposite order."""
    return [Span(n_words - span.end, n_words - span.start, span.label) for span in reversed(spans)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trained tagger."""

    network: Network
    """Of the averaged weights."""
    predict: Predict
    n_parameters: int
    """Without the table of feature rows, which all share."""
    seconds: float
    """Of the processor, for training."""
    gradients: Mapping[str, float]
    """The norm of the gradient of each layer's weights, as the mean of the updates."""


def train_tagger(
    material: Material,
    config: NetworkConfig,
    seed: int,
    *,
    leftwards: bool = False,
    change: Callable[[Network], None] = lambda _: None,
) -> Trial:
    """Train a tagger as `teddy train` does; `leftwards` from the last word to the first.

    `change` may replace parts of the network before it learns.
    """
    seed_torch(seed)
    tag_set = TagSet(material.labels)
    network = Network(config, material.features.n_rows, tag_set)
    change(network)
    corpora = material.corpora
    if leftwards:
        corpora = [
            replace(c, train=[*map(mirrored, c.train)], dev=[*map(mirrored, c.dev)])
            for c in corpora
        ]
    trainer = Trainer(
        network,
        material.features,
        tag_set,
        corpora,
        material.training,
        seed=seed,
        device=torch.device("cpu"),
    )
    layers = dict(_layers(network))
    sums = dict.fromkeys(layers, 0.0)
    started, n_updates = time.process_time(), 0
    for row in trainer.run():
        if row["kind"] == "update":
            n_updates += 1
            for name, layer in layers.items():
                gradients = [p.grad for p in layer.parameters() if p.grad is not None]
                sums[name] += nn.utils.get_total_norm(gradients).item()
    seconds = time.process_time() - started
    tagger = Tagger(trainer.averaged, material.features, tag_set)

    def predict(sentences: Sequence[Sequence[str]]) -> list[list[Span]]:
        shown = [words[::-1] for words in sentences] if leftwards else sentences
        found = [tagged.spans for tagged in tagger.tag(shown)]
        if not leftwards:
            return found
        return [mirrored_spans(s, len(w)) for s, w in zip(found, sentences, strict=True)]

    return Trial(
        network=trainer.averaged,
        predict=predict,
        n_parameters=sum(p.numel() for p in network.parameters()) - network.embedding.numel(),
        seconds=seconds,
        gradients={name: total / max(n_updates, 1) for name, total in sums.items()},
    )


def _layers(network: Network) -> Iterator[tuple[str, nn.Module]]:
    for kind, layers in (
        ("recurrent", network.encoder.recurrent),
        ("dense", network.encoder.dense),
    ):
        for number, layer in enumerate(layers, start=1):
            yield f"{kind} {number}", layer
    yield "emission", network.emission


def score(material: Material, predict: Predict) -> dict[str, Counts]:
    """Count entities of dev, strictly: those of each kind, and `all`."""
    found = predict([sentence.words for sentence in material.dev])
    counts: dict[str, Counts] = {}
    for sentence, spans in zip(material.dev, found, strict=True):
        gold, predicted = set(sentence.spans), set(spans)
        for span in gold | predicted:
            one = Counts(int(span in gold), int(span in predicted), int(span in gold & predicted))
            for kind in (material.kind_of(sentence, span), "all"):
                counts[kind] = counts.get(kind, Counts()) + one
    return dict(sorted(counts.items(), key=lambda each: each[0] != "all"))
