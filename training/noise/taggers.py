"""The quick taggers of `teddy check --deep`: one for each fold, trained on the other folds and asked about its own."""

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import torch

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.features import WordFeatures
from teddy.model.labels import TagSet
from teddy.model.network import Network
from teddy.model.pieces import Pieces
from teddy.training.config import PiecesConfig, TrainingConfig
from teddy.training.corpus.align import Sentence
from teddy.training.corpus.corpora import Corpus
from teddy.training.loop import Trainer
from teddy.training.noise.reading import Reading, read_annotations
from teddy.training.pieces import train_pieces
from teddy.training.seed import seed_torch
from teddy.training.start import find_start, load_start

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
        """The loop; without evaluations but the last, for nothing is chosen by them."""
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
    """What one quick tagger learns from, and what it is asked about. Its number makes its randomness its own."""

    number: int
    learnt: tuple[Corpus, ...]
    asked: tuple[Sentence, ...]


def epochs_for(n_words: int, *, starts_from_en: bool) -> int:
    """How often to go through so many words."""
    epochs = min(max(math.ceil(_WORDS_TO_LEARN / max(n_words, 1)), _FEWEST_EPOCHS), _MOST_EPOCHS)
    return epochs if starts_from_en else _FROM_SCRATCH * epochs


def is_latin(sentences: Iterable[Sentence]) -> bool:
    """Whether most letters of a sample of the text are Latin."""
    characters = islice(chain.from_iterable(sentence.text for sentence in sentences), _SAMPLE_CHARACTERS)
    letters = Counter(character for character in characters if character.isalpha())
    latin = sum(n for letter, n in letters.items() if unicodedata.name(letter, "").startswith("LATIN"))
    return 2 * latin > letters.total()


def read_fold(fold: Fold, config: QuickConfig, on_step: Callable[[int, int], None]) -> list[Reading]:
    """Train a quick tagger and let it read the sentences that it is asked about.

    `on_step` is called after each update, with the updates done and those of the whole training. Raises DivergedError.
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
    total = trainer.total_steps()
    for row in trainer.run():
        on_step(row["step"], total)
    return read_annotations(trainer.averaged, features, tag_set, fold.asked)


def _start(learnt: Sequence[Corpus], tag_set: TagSet, config: QuickConfig) -> tuple[WordFeatures, Network]:
    """The features and the network, its encoder from the model that ships or from nothing."""
    if config.starts_from_en:
        start = load_start(find_start("en", Path()))
        features = WordFeatures(Pieces(start.pieces), start.features, start.words)
        network = Network(_with_dropout(start.network), features.n_rows, tag_set)
        start.put_into(network)
        return features, network
    counts = Counter(word for corpus in learnt for sentence in corpus.train for word in sentence.words)
    features = WordFeatures(Pieces(train_pieces(counts, PiecesConfig())), config.features)
    return features, Network(_with_dropout(config.network), features.n_rows, tag_set)


def _with_dropout(config: NetworkConfig) -> NetworkConfig:
    return replace(config, embedding_dropout=_DROPOUT, layer_dropout=_DROPOUT)
