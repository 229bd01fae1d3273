"""The batch of an update: augmented sentences, cut into micro-batches, with noise and targets.

All that is drawn depends on the seed, the epoch, the step and the number of the micro-batch. So a
resumed run draws what an uninterrupted one draws, and N processes draw what one process draws.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from teddy.model.features.batching import Batch, make_batch
from teddy.model.features.rows import WordFeatures
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import Sentence
from teddy.training.data.raw_text import Words
from teddy.training.learning.distributed.process_group import ProcessGroup
from teddy.training.learning.input_noise import augment, drop_features, drop_words
from teddy.training.learning.torch_setup import generator
from teddy.training.recipe.recipe import TrainingConfig
from teddy.training.recipe.sections import AugmentConfig

_ANNOTATED, _RAW, _RAW_AUGMENTED = 1, 2, 3
"""Keys of random generators: annotated sentences get the same noise with raw text and without."""


class Targets:
    """The tags that each word of a sentence may have, for the sentences of one corpus.

    A corpus that does not annotate a label says nothing about it: its unlabelled words may be
    outside any entity *or* in an entity of that label, and the CRF's loss sums over both. So
    corpora with different labels train one model without unteaching each other's entities
    (compare Jie et al. 2019 and Greenberg et al. 2018).
    """

    def __init__(self, tag_set: TagSet, annotates: Iterable[str]) -> None:
        possible = {None, *tag_set.labels} - frozenset(annotates)
        self._tag_set = tag_set
        labels = map(tag_set.label_of, range(len(tag_set.tags)))
        self._unlabelled = np.array([label in possible for label in labels])
        """The tags of a word without annotation, bool [K]."""

    def allowed(self, sentence: Sentence) -> NDArray[np.bool_]:
        """Return the allowed tags of each word, bool [words, tags]."""
        n_words = len(sentence.words)
        tags = self._tag_set.encode(sentence.spans, n_words)
        allowed = np.tile(self._unlabelled, (n_words, 1))
        for span in sentence.spans:
            inside = slice(span.start, span.end)
            allowed[inside] = False
            allowed[range(span.start, span.end), tags[inside]] = True
        for start, end in sentence.unknown:
            allowed[start:end] = True
        return allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch:
    """Sentences that the network reads at once, and what it learns from them."""

    inputs: Batch
    allowed: Tensor | None
    """The allowed tags of annotated sentences, bool [B, T, K]; None for raw text."""
    teacher_words: list[Words | None] | None
    """The words that teachers read; None for sentences, or all, of which they read none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Batches of one backward pass; `seed` seeds torch, for the dropout inside the network."""

    seed: int
    batches: list[TrainingBatch]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankBatch:
    """The micro-batches of an update that one process reads; the counts are of all processes."""

    micro_batches: list[MicroBatch]
    rows: Tensor
    """The distinct feature rows, int64 [R], in order; `inputs.rows` are places among them."""
    n_words: int
    """Of annotated sentences."""
    n_taught_words: int
    """Read by teachers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """Augmented sentences, annotated or raw, and what teachers read of them."""

    sentences: list[Sentence]
    teacher_words: list[Words | None] | None
    is_raw: bool

    @property
    def lengths(self) -> list[int]:
        return [len(sentence.words) for sentence in self.sentences]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharder:
    """Makes the batches of a run.

    `taught` says whether teachers read the annotated sentences, `changed` whether they read any
    whose words augmentation has changed.
    """

    features: WordFeatures
    targets: Mapping[str, Targets]
    config: TrainingConfig
    augmentation: AugmentConfig
    taught: bool
    changed: bool = True
    seed: int
    group: ProcessGroup

    def make_batch(
        self,
        sentences: Sequence[Sentence],
        raw: Sequence[Sequence[Sentence]],
        epoch: int,
        step: int,
    ) -> RankBatch:
        """Return this process's part of an update on annotated sentences and raw batches."""
        random = generator(self.seed, epoch, step, _RAW_AUGMENTED)
        texts = [
            self._augmented(sentences, generator(self.seed, epoch, step), is_raw=False),
            *(self._augmented(batch, random, is_raw=True) for batch in raw),
        ]
        n_parts = self.config.parts or self.group.size
        parts: list[MicroBatch] = []
        for number in self.group.share(n_parts):
            annotated_random = generator(self.seed, epoch, step, _ANNOTATED, number)
            raw_random = generator(self.seed, epoch, step, _RAW, number)
            seed = int(annotated_random.integers(2**63))
            batches = [
                self._batch(text, own, raw_random if text.is_raw else annotated_random)
                for text in texts
                if text.sentences[own := cut(text.lengths, n_parts)[number]]
            ]
            if batches:
                parts.append(MicroBatch(seed=seed, batches=batches))
        parts, rows = _renumber(parts, self.features.n_rows)
        read = [words for text in texts for words in text.teacher_words or ()]
        return RankBatch(
            micro_batches=parts,
            rows=rows,
            n_words=sum(texts[0].lengths),
            n_taught_words=max(1, sum(len(words) for words in read if words)),
        )

    def _augmented(
        self, sentences: Sequence[Sentence], random: np.random.Generator, *, is_raw: bool
    ) -> _Text:
        config = self.augmentation
        if is_raw and not self.changed:  # what teaches nothing if it is changed
            config = config.case_alone
        augmented = augment(sentences, config, random)
        read = None
        if is_raw or self.taught:
            read = words_for_teachers(sentences, augmented, changed=self.changed)
        return _Text(sentences=augmented, teacher_words=read, is_raw=is_raw)

    def _batch(self, text: _Text, own: slice, random: np.random.Generator) -> TrainingBatch:
        sentences = text.sentences[own]
        inputs = make_batch([sentence.words for sentence in sentences], self.features)
        inputs = drop_features(inputs, self.features, self.config.feature_dropout, random)
        inputs = drop_words(inputs, self.config.word_dropout, random)
        allowed = None
        if not text.is_raw:
            rows = [torch.from_numpy(self.targets[s.corpus].allowed(s)) for s in sentences]
            # At padding every tag is allowed.
            allowed = pad_sequence(rows, batch_first=True, padding_value=True)
        read = None if text.teacher_words is None else text.teacher_words[own]
        return TrainingBatch(inputs=inputs, allowed=allowed, teacher_words=read)


def words_for_teachers(
    sentences: Sequence[Sentence], augmented: Sequence[Sentence], *, changed: bool = True
) -> list[Words | None]:
    """Return the words that teachers read when the student reads the augmented sentences.

    Where augmentation only changed the case of letters, they read the original, which is easier.
    Elsewhere no word can be matched with its original, and they read what the student reads, or,
    if they are not to read what is `changed`, nothing.
    """
    if len(sentences) != len(augmented):
        return [sentence.words if changed else None for sentence in augmented]

    def folded(sentence: Sentence) -> list[str]:
        return [word.casefold() for word in sentence.words]

    return [
        old.words if folded(old) == folded(new) else new.words if changed else None
        for old, new in zip(sentences, augmented, strict=True)
    ]


def cut(lengths: Sequence[int], n_parts: int) -> list[slice]:
    """Cut sentences of these lengths into `n_parts` slices of about as many words; some are empty.

    Sentences of a batch are sorted by length, so that those of a slice need little padding.
    """
    ends = np.cumsum(lengths)
    # A sentence belongs to the slice in which its middle lies.
    middles = ends - np.asarray(lengths) / 2
    borders = np.searchsorted(middles, ends[-1] * np.arange(n_parts + 1) / n_parts).tolist()
    return [slice(start, end) for start, end in pairwise(borders)]


def _renumber(parts: Sequence[MicroBatch], n_rows: int) -> tuple[list[MicroBatch], Tensor]:
    """Return the parts with rows as places among their distinct rows, and these rows, in order."""
    touched: NDArray[np.bool_] = np.zeros(n_rows, dtype=np.bool_)
    for part in parts:
        for batch in part.batches:
            touched[batch.inputs.rows.numpy()] = True
    rows = np.flatnonzero(touched)
    places = np.empty(n_rows, dtype=np.int64)
    places[rows] = np.arange(len(rows))

    def moved(batch: TrainingBatch) -> TrainingBatch:
        inputs = replace(batch.inputs, rows=torch.from_numpy(places[batch.inputs.rows.numpy()]))
        return replace(batch, inputs=inputs)

    renumbered = [replace(part, batches=[*map(moved, part.batches)]) for part in parts]
    return renumbered, torch.from_numpy(rows)
