"""The quick taggers of `teddy check --deep`: each learns from the other folds and reads its own.

What they say are exact probabilities of spans under the CRF, summed over everything that may stand
around them.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.features.batching import Batch, group_by_length, make_batch
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.network.tagger_network import Network
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.data.vocabulary import train_pieces
from teddy.training.learning.start import find_weights, load_weights
from teddy.training.learning.torch_setup import seed_torch
from teddy.training.loop import Trainer
from teddy.training.recipe.recipe import TrainingConfig
from teddy.training.recipe.words import PiecesConfig

OnProgress = Callable[[float], None]
"""Called with the share of the work that is done, 0 to 1."""

_BATCH_WORDS = 2048

StartName = Literal["auto", "en", "none"]
_FEATURES = FeatureConfig(affix_rows=4096)
_NETWORK = NetworkConfig(layers=1, normalise=True, embedding_width=96, hidden_width=96)
_DROPOUT = 0.4
_WORDS_TO_LEARN = 150_000
"""A small corpus is gone through until so many words have been learnt from; see `epochs_for`."""
_FEWEST_EPOCHS, _MOST_EPOCHS = 3, 10
_FROM_SCRATCH = 2
"""How many times as many epochs a network needs that starts from nothing."""
_SAMPLE_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class Reading:
    """One sentence, read by a tagger that does not know it."""

    by_label: tuple[tuple[float, ...], ...]
    """For each annotated span, how probable its borders are with each label. Shape: [spans,
    labels]."""
    outside: tuple[float, ...]
    """For each annotated span, how probable it is that none of its words is in an entity."""
    found: tuple[tuple[Span, float], ...]
    """What the tagger would have marked, in order, with probabilities."""


def read_annotations(
    network: Network, features: WordFeatures, tag_set: TagSet, sentences: Sequence[Sentence]
) -> list[Reading]:
    """Read all sentences, in order. The network is in evaluation mode and lies on the CPU."""
    readings: dict[int, Reading] = {}
    for members in group_by_length([len(sentence.words) for sentence in sentences], _BATCH_WORDS):
        group = [sentences[member] for member in members]
        with torch.inference_mode():
            readings.update(zip(members, _read(network, features, tag_set, group), strict=True))
    return [readings[position] for position in range(len(sentences))]


def _read(
    network: Network, features: WordFeatures, tag_set: TagSet, group: Sequence[Sentence]
) -> Iterator[Reading]:
    batch = make_batch([sentence.words for sentence in group], features)
    emissions = network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
    # With every span given the same label, one pass gives the probability of each span with that
    # label.
    named = [
        _Passage(network, emissions, batch, _tags(tag_set, group, label))
        for label in tag_set.labels
    ]
    outside = _Passage(network, emissions, batch, _tags(tag_set, group, None))
    best = network.crf.best_path(emissions, batch.lengths)
    found = _Passage(network, emissions, batch, best)
    for row, sentence in enumerate(group):
        spans = tag_set.decode(best[row, : len(sentence.words)].tolist())
        yield Reading(
            by_label=tuple(
                tuple(each.probability(row, span) for each in named) for span in sentence.spans
            ),
            outside=tuple(outside.probability(row, span) for span in sentence.spans),
            found=tuple((span, found.probability(row, span)) for span in spans),
        )


class _Passage:
    """The probabilities of stretches of given tags: see `ConditionalRandomField.posterior`."""

    def __init__(self, network: Network, emissions: Tensor, batch: Batch, tags: Tensor) -> None:
        _, self._opening, self._closing = network.crf.posterior(emissions, batch.lengths, tags)

    def probability(self, row: int, span: Span) -> float:
        logarithm = self._opening[row, span.start] + self._closing[row, span.end - 1]
        return min(float(logarithm.exp()), 1.0)


def _tags(tag_set: TagSet, group: Sequence[Sentence], label: str | None) -> Tensor:
    """Return the tags of all spans as if they had this label, or as if there were none.

    Shape: int64 [B, T].
    """
    tags = torch.zeros(
        len(group), max(len(sentence.words) for sentence in group), dtype=torch.int64
    )
    for row, sentence in enumerate(group):
        spans = [replace(span, label=label) for span in sentence.spans] if label else []
        tags[row, : len(sentence.words)] = torch.tensor(tag_set.encode(spans, len(sentence.words)))
    return tags


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickConfig:
    """How the quick taggers are made."""

    labels: tuple[str, ...]
    starts_from_en: bool
    epochs: int
    seed: int
    batch_words: int = 300
    """Padded words per update: few, for small corpora have few updates in all."""
    features: FeatureConfig = _FEATURES
    """These two are of networks that start from nothing."""
    network: NetworkConfig = _NETWORK

    def training(self) -> TrainingConfig:
        """Train, and evaluate only once, at the end, since no weights are chosen."""
        return TrainingConfig(
            epochs=self.epochs,
            batch_words=self.batch_words,
            learning_rate=3e-3 if self.starts_from_en else 5e-3,
            average_decay=0.99,
            patience=0,
            evaluations_per_epoch=1 / self.epochs,
            device="cpu",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What one quick tagger learns from, and what it is asked about.

    Its number makes its randomness its own.
    """

    number: int
    learnt: tuple[Corpus, ...]
    asked: tuple[Sentence, ...]


def epochs_for(n_words: int, *, starts_from_en: bool) -> int:
    """How often to go through so many words."""
    epochs = min(max(math.ceil(_WORDS_TO_LEARN / max(n_words, 1)), _FEWEST_EPOCHS), _MOST_EPOCHS)
    return epochs if starts_from_en else _FROM_SCRATCH * epochs


def is_latin(sentences: Iterable[Sentence]) -> bool:
    """Whether most letters of a sample of the text are Latin."""
    characters = chain.from_iterable(sentence.text for sentence in sentences)
    letters = Counter(filter(str.isalpha, islice(characters, _SAMPLE_CHARACTERS)))
    names = {letter: unicodedata.name(letter, "") for letter in letters}
    latin = sum(n for letter, n in letters.items() if names[letter].startswith("LATIN"))
    return 2 * latin > letters.total()


def read_fold(fold: Fold, config: QuickConfig, on_progress: OnProgress) -> list[Reading]:
    """Train a quick tagger and let it read the sentences that it is asked about.

    `on_progress` is called after each update. Raises DivergedError.
    """
    seed = config.seed * 1000 + fold.number
    seed_torch(seed)
    tag_set = TagSet(config.labels)
    features, network = _start(fold.learnt, tag_set, config)
    trainer = Trainer(
        network,
        features,
        tag_set,
        fold.learnt,
        config.training(),
        seed=seed,
        device=torch.device("cpu"),
        started_share=0.5 if config.starts_from_en else 1.0,
    )
    total = trainer.total_steps
    for row in trainer.run():
        on_progress(row["step"] / total)
    return read_annotations(trainer.averaged, features, tag_set, fold.asked)


def _start(
    learnt: Sequence[Corpus], tag_set: TagSet, config: QuickConfig
) -> tuple[WordFeatures, Network]:
    """Return the features and the network, its encoder from the shipped model or random."""
    if config.starts_from_en:
        start = load_weights(find_weights("en", Path()))
        pieces = Pieces(start.pieces)
        features = WordFeatures(pieces, start.features, start.words, start.lexicon)
        network = Network(_with_dropout(start.network), features.n_rows, tag_set)
        start.put_into(network)
        return features, network
    sentences = chain.from_iterable(corpus.train for corpus in learnt)
    counts = Counter(chain.from_iterable(sentence.words for sentence in sentences))
    features = WordFeatures(Pieces(train_pieces(counts, PiecesConfig())), config.features)
    return features, Network(_with_dropout(config.network), features.n_rows, tag_set)


def _with_dropout(config: NetworkConfig) -> NetworkConfig:
    return replace(config, embedding_dropout=_DROPOUT, layer_dropout=_DROPOUT)
