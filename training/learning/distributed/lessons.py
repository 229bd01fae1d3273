"""What an update reads, cut into parts, and each process's share of them.

A batch of sentences becomes guises (see `teddy.training.learning.input_noise`), and these are cut
into parts. A part draws by itself what goes missing in it: its numbers come from the seed, the
epoch, the step and the number of the part. So a process makes its own parts and no others, and
which process makes a part changes nothing in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.features.batching import Batch, make_batch
from teddy.model.features.rows import UNKNOWN_WORD, WordFeatures
from teddy.training.data.align import Sentence
from teddy.training.data.raw_text import Words
from teddy.training.learning.distill import words_to_read
from teddy.training.learning.distributed.process_group import ProcessGroup
from teddy.training.learning.input_noise import augment, drop_features, drop_words
from teddy.training.learning.targets import Targets, pad_targets
from teddy.training.learning.torch_setup import generator
from teddy.training.recipe.recipe import TrainingConfig
from teddy.training.recipe.sections import AugmentConfig

_ANNOTATED, _RAW, _RAW_GUISES = 1, 2, 3
"""Keep apart what is drawn for one step: the noise of a part stays what it is whether or not
teachers read text too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Sentences that the network reads at once: `batch`, and what it learns of them.

    `allowed`, bool [B, T, K], are the sets of tags of annotated sentences; None for raw text.
    `words` are what teachers read; None where they do not.
    """

    batch: Batch
    allowed: Tensor | None
    words: list[Words] | None

    def to(self, device: torch.device) -> "Lesson":
        """The same on another device."""
        allowed = None if self.allowed is None else self.allowed.to(device)
        return replace(self, batch=self.batch.to(device), allowed=allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Lessons that one backward pass learns from; `seed` is torch's, for the dropout inside the network."""

    seed: int
    lessons: list[Lesson]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The parts of an update that one process makes, and how many words all parts of all processes have.

    `rows`, int64 [R], are the distinct feature rows of these parts, in order; the parts' own rows
    are places in it.
    """

    parts: list[Part]
    rows: Tensor
    n_words: int
    """Of the annotated sentences."""
    n_taught_words: int
    """That teachers read."""


@dataclass(frozen=True, slots=True)
class _Guises:
    """Sentences as the network sees them this time, and as teachers do."""

    sentences: list[Sentence]
    words: list[Words]

    @property
    def n_words(self) -> int:
        return sum(map(len, self.words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Divider:
    """Makes the shares of a run's updates; `taught` says whether teachers read the annotated sentences too."""

    features: WordFeatures
    targets: Mapping[str, Targets]
    config: TrainingConfig
    augmentation: AugmentConfig
    taught: bool
    seed: int
    group: ProcessGroup

    def share(
        self,
        sentences: Sequence[Sentence],
        raw: Sequence[Sequence[Sentence]],
        epoch: int,
        step: int,
    ) -> Share:
        """What this process reads of an update on a batch of annotated sentences and batches of raw ones."""
        annotated = self._guises(sentences, generator(self.seed, epoch, step))
        random = generator(self.seed, epoch, step, _RAW_GUISES)
        texts = [self._guises(batch, random) for batch in raw]
        n_parts = self.config.parts or self.group.size
        parts = [
            self._part(annotated, texts, (epoch, step), n, n_parts)
            for n in self.group.share(n_parts)
        ]
        parts, rows = _renumbered([part for part in parts if part.lessons], self.features.n_rows)
        return Share(
            parts=parts,
            rows=rows,
            n_words=annotated.n_words,
            n_taught_words=sum(text.n_words for text in texts) + annotated.n_words * self.taught,
        )

    def _guises(self, sentences: Sequence[Sentence], random: np.random.Generator) -> _Guises:
        guises = augment(sentences, self.augmentation, random)
        return _Guises(guises, words_to_read(sentences, guises))

    def _part(
        self,
        annotated: _Guises,
        texts: Sequence[_Guises],
        moment: tuple[int, int],
        number: int,
        n_parts: int,
    ) -> Part:
        random = generator(self.seed, *moment, _ANNOTATED, number)
        # The dropout inside the network asks torch, on whatever device: no state of it needs to be
        # kept.
        seed = int(random.integers(2**63))
        lessons = self._lessons(annotated, number, n_parts, random, is_raw=False)
        random = generator(self.seed, *moment, _RAW, number)
        for text in texts:
            lessons += self._lessons(text, number, n_parts, random, is_raw=True)
        return Part(seed=seed, lessons=lessons)

    def _lessons(
        self,
        guises: _Guises,
        number: int,
        n_parts: int,
        random: np.random.Generator,
        *,
        is_raw: bool,
    ) -> list[Lesson]:
        """One lesson, or none where there are fewer sentences than parts."""
        own = cut([len(words) for words in guises.words], n_parts)[number]
        sentences = guises.sentences[own]
        if not sentences:
            return []
        batch = make_batch([sentence.words for sentence in sentences], self.features)
        batch = drop_features(batch, self.features, self.config.feature_dropout, random)
        batch = drop_words(batch, UNKNOWN_WORD, self.config.word_dropout, random)
        allowed = (
            pad_targets([self.targets[each.corpus].allowed(each) for each in sentences])
            if not is_raw
            else None
        )
        return [
            Lesson(
                batch=batch,
                allowed=allowed,
                words=guises.words[own] if is_raw or self.taught else None,
            )
        ]


def cut(lengths: Sequence[int], n_parts: int) -> list[slice]:
    """Neighbouring sentences of so many words each, in `n_parts` runs of words as equal as can be; some may be empty.

    Sentences of a batch stand by length, so that those of a run are alike and need little padding.
    """
    ends = np.cumsum(lengths)
    # A sentence belongs to the run in which its middle lies.
    middles = ends - np.asarray(lengths) / 2
    borders = np.searchsorted(middles, ends[-1] * np.arange(n_parts + 1) / n_parts).tolist()
    return [slice(start, end) for start, end in pairwise(borders)]


def _renumbered(parts: Sequence[Part], n_rows: int) -> tuple[list[Part], Tensor]:
    """The parts with their rows as places among the distinct rows of all of them, and these, in order."""
    touched: NDArray[np.bool_] = np.zeros(n_rows, dtype=np.bool_)
    for part in parts:
        for lesson in part.lessons:
            touched[lesson.batch.rows.numpy()] = True
    rows = np.flatnonzero(touched)
    places = np.empty(n_rows, dtype=np.int64)
    places[rows] = np.arange(len(rows))
    return [
        replace(part, lessons=[_moved(lesson, places) for lesson in part.lessons]) for part in parts
    ], torch.from_numpy(rows)


def _moved(lesson: Lesson, places: NDArray[np.int64]) -> Lesson:
    rows = torch.from_numpy(places[lesson.batch.rows.numpy()])
    return replace(lesson, batch=replace(lesson.batch, rows=rows))
