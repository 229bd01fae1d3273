"""Learning from teachers: the tags that they expect are a loss for the student.

Teachers read the training sentences of the corpora, and a share of raw text in each epoch. What
they say of a sentence is kept on disk (see `teddy.training.learning.readings`), so that it is read
once, whatever the number of epochs and students; at hand in memory is what they say of the corpora
and of the epoch's share. They read words as they stand, or nearly (see
`learning.batches.words_for_teachers`); the student's words and features are dropped at random as in
all training. Sentences whose words augmentation has changed are read at once, and not kept.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from teddy.model.errors import TrainingError
from teddy.model.file.bundle import TrainingData
from teddy.model.network.crf import ConditionalRandomField
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import Sentence
from teddy.training.data.raw_text import RawText, Words, as_sentence
from teddy.training.data.shelf import Shelf
from teddy.training.data.source import plan_epoch
from teddy.training.evaluation.measurements import joined_credits
from teddy.training.learning.readings import (
    Ask,
    KnownSentences,
    Readings,
    expectations_of,
    mean_reading,
)
from teddy.training.learning.teacher import (
    Expectations,
    Teacher,
    cross_entropy,
    load_teacher,
    mean_expectations,
    placed,
)
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import DistillConfig

_SHARD_WORDS = 20_000
"""What teachers say of so many words of a corpus is a file: with the slowest, half a minute."""
_MOST_CORPUS_WORDS = 5_000_000
"""What teachers say of these takes 300 MB of memory. Larger corpora are read in each epoch."""
_NOTE_SECONDS = 30.0

Note = Callable[[str], None]


Shard = tuple[list[Words], Sequence[int]]
"""Sentences whose readings are one file, and the numbers of those that are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tutor:
    """A teacher of one student, and its folder on the shelf."""

    name: str
    teacher: Teacher
    places: list[int]
    """Of its tags, among the student's."""
    ask: Ask
    folder: Path


class Distillation:
    """The teachers of a student, and the raw text that they read beside its training sentences."""

    def __init__(
        self,
        config: DistillConfig,
        teachers: Sequence[Teacher],
        tag_set: TagSet,
        text: RawText | None,
        *,
        longest: int,
        batch_words: int,
        seed: int,
        device: torch.device,
        mixed_precision: str,
        forbids: bool = True,
        readings: Readings | None = None,
        corpora: Sequence[Iterable[Sentence]] = (),
        note: Note = lambda _: None,
    ) -> None:
        """Take the `teachers` that `config` names, in its order.

        Raw sentences are cut at `longest` words; `forbids` says whether the student forbids
        transitions. A text needs `readings`, where what teachers say of it is kept, and of the
        training sentences of the `corpora` too. Raises TrainingError for a teacher that it cannot
        learn from (see `Teacher.places_in`), and for teachers of which one knows labels that
        another does not.
        """
        self.config = config
        self._device = device
        self._mixed_precision = mixed_precision
        self._tutors = [
            self._tutor(
                name, teacher, teacher.places_in(tag_set, forbids=forbids, name=name), readings
            )
            for teacher, name in zip(teachers, config.teachers, strict=True)
        ]
        known = self._tutors[0].places
        for tutor in self._tutors:
            if set(tutor.places) != set(known):
                raise TrainingError(
                    f"{tutor.name}: this teacher's labels are not those of {config.teachers[0]}: "
                    "their mean means nothing"
                )
        self._n_tags = len(tag_set.tags)
        self._known = torch.zeros(self._n_tags, dtype=torch.bool, device=device)
        self._known[known] = True
        self._text = text
        self._shelved = readings.shelf.of_text(text, longest) if text and readings else None
        self._readings = readings
        self._corpora = corpora if config.on_corpora else ()
        self._batch_words = batch_words
        self._seed = seed
        self._note = note
        self._of_corpora: KnownSentences | None = None
        self._of_epoch = KnownSentences()
        self._epoch: tuple[int, list[list[Words]]] = (-1, [])

    def _tutor(
        self, name: str, teacher: Teacher, places: list[int], readings: Readings | None
    ) -> Tutor:
        teacher.to(self._device)
        about = {"teacher": Path(name).name, "labels": teacher.tag_set.labels}
        temperature = self.config.temperature
        ask = partial(
            teacher.expectations,
            temperature=temperature,
            device=self._device,
            mixed_precision=self._mixed_precision,
        )
        folder = readings.of_teacher(teacher.digest, temperature, about) if readings else Path()
        return Tutor(name=name, teacher=teacher, places=places, ask=ask, folder=folder)

    @property
    def training_data(self) -> tuple[TrainingData, ...]:
        """The data that the student must credit: the text, and those of its teachers."""
        config = self.config
        credit = TrainingData(name=config.name, licence=config.licence, source=config.source)
        learnt: tuple[TrainingData, ...] = (credit,) if config.text else ()
        for tutor in self._tutors:
            learnt = joined_credits(learnt, tutor.teacher.training_data)
        return learnt

    @property
    def summary(self) -> str:
        """A line on the teachers and what they read."""
        config = self.config
        read = ["the corpora"] if config.on_corpora else []
        read += [f"{config.words:,} words of {config.name} in each epoch"] if config.text else []
        return f"taught by {', '.join(config.teachers)} on {' and '.join(read)}"

    def prepare(self, epoch: int) -> None:
        """Have teachers read what an epoch needs and is not on the shelf, and get it to hand."""
        if self._of_corpora is None:
            self._of_corpora = KnownSentences()
            self._get(self._corpora_shards, self._of_corpora)
        if self._shelved is None or self._epoch[0] == epoch:
            return
        self._epoch = (-1, [])  # two epochs' text need not be in memory at once
        self._of_epoch = KnownSentences()
        sentences = self._get(partial(self._text_shards, epoch), self._of_epoch)
        lengths = [len(sentence) for sentence in sentences]
        plan = plan_epoch(lengths, [1.0] * len(lengths), self._batch_words, self._seed, epoch)
        self._epoch = (epoch, [[sentences[i] for i in members] for members in plan])

    def fill(self, epochs: int) -> None:
        """Have teachers read all that so many epochs need and is not on the shelf."""
        self._read(self._corpora_shards)
        for epoch in range(epochs):
            self._read(partial(self._text_shards, epoch))

    def _corpora_shards(self) -> Iterator[Shard]:
        n_words = 0
        shard: list[Words] = []
        for corpus in self._corpora if self._readings else ():
            size = 0
            for sentence in corpus:
                shard.append(sentence.words)
                size += len(sentence.words)
                if size >= _SHARD_WORDS:
                    yield shard, range(len(shard))
                    n_words += size
                    shard, size = [], 0
                    if n_words >= _MOST_CORPUS_WORDS:
                        return
            if shard:
                yield shard, range(len(shard))
                n_words += size
                shard = []

    def _text_shards(self, epoch: int) -> Iterator[Shard]:
        if self._shelved is not None:
            share = self._shelved.share(epoch, self.config.words, self.config.pool)
            for place, numbers in share.items():
                yield self._shelved.sentences(place), numbers

    def _read(self, shards: Callable[[], Iterator[Shard]]) -> None:
        """Have each teacher read what is not on the shelf."""
        if self._readings is None:
            return
        # First what no other process is reading, then what the others have not finished.
        for wait in (False, True):
            for tutor in self._tutors:
                began, noted, n_words = time.monotonic(), time.monotonic(), 0
                for sentences, _ in shards():
                    if self._readings.make(tutor.folder, sentences, tutor.ask, wait=wait):
                        n_words += sum(map(len, sentences))
                    now = time.monotonic()
                    if n_words and now - noted >= _NOTE_SECONDS:
                        speed = n_words / (now - began)
                        self._note(
                            f"{tutor.name} has read {n_words:,} words ({speed:,.0f} a second)"
                        )
                        noted = now

    def _get(self, shards: Callable[[], Iterator[Shard]], known: KnownSentences) -> list[Words]:
        """Put into memory what teachers say of the wanted sentences; return these."""
        if self._readings is None:
            return []
        self._read(shards)
        wanted: list[Words] = []
        for sentences, numbers in shards():
            several = [
                self._readings.get(tutor.folder, sentences, tutor.ask) for tutor in self._tutors
            ]
            known.add(
                sentences, mean_reading(several, [tutor.places for tutor in self._tutors]), numbers
            )
            wanted += [sentences[number] for number in numbers]
        return wanted

    def batches(self, epoch: int, update: int, n_updates: int) -> list[list[Sentence]]:
        """Return the raw sentences of one of an epoch's updates, from 0; none without a text.

        The batches of the epoch are spread evenly over its `n_updates` updates. Where they are
        fewer, they come round again, so that every update has some. A pure function of its
        arguments, of the seed and of the text.
        """
        if self._text is None:
            return []
        self.prepare(epoch)
        batches = self._epoch[1]
        n = len(batches)
        if n <= n_updates:
            chosen = [batches[update % n]]
        else:
            chosen = batches[update * n // n_updates : (update + 1) * n // n_updates]
        return [[as_sentence(words, self._text.tokeniser) for words in batch] for batch in chosen]

    def expectations(self, sentences: Sequence[Words]) -> Expectations:
        """Return the mean of the teachers' expectations of the student's tags.

        `sentences` are words; none is empty. What is not at hand is asked for; with `on_augmented`
        off, nothing is expected of it, not even `O`.
        """
        kept = [self._of_epoch.find(words) for words in sentences]
        if self._of_corpora is not None:
            kept = [
                self._of_corpora.find(words) if found is None else found
                for words, found in zip(sentences, kept, strict=True)
            ]
        n_rows, width = len(sentences), max(map(len, sentences))
        unary = torch.zeros(n_rows, width, self._n_tags, dtype=torch.float64, device=self._device)
        pairs = unary.new_zeros(n_rows, self._n_tags, self._n_tags)
        rows = [row for row, found in enumerate(kept) if found is not None]
        rest = [row for row, found in enumerate(kept) if found is None]
        parts = []
        if rows:
            found = expectations_of([each for each in kept if each is not None])
            parts.append(
                (rows, placed(found.to(self._device), self._tutors[0].places, self._n_tags))
            )
        if rest and (self.config.on_augmented or self._readings is None):
            parts.append((rest, self._ask([sentences[row] for row in rest])))
        if len(parts) == 1 and len(parts[0][0]) == n_rows:
            return parts[0][1]
        for members, found in parts:
            unary[members, : found.unary.shape[1]] = found.unary
            pairs[members] = found.pairs
        return Expectations(unary=unary, pairs=pairs)

    def _ask(self, sentences: Sequence[Words]) -> Expectations:
        return mean_expectations(
            [placed(each.ask(sentences), each.places, self._n_tags) for each in self._tutors]
        )

    def loss(
        self,
        crf: ConditionalRandomField,
        emissions: Tensor,
        lengths: Tensor,
        sentences: Sequence[Words],
        *,
        annotated: bool,
    ) -> Tensor:
        """Return the summed loss, in nats, of a student's emissions [B, T, K] for B sentences.

        It is the cross-entropy among the tags that the teachers know. Where the student knows
        others and the sentences are not `annotated`, a second loss says that what the teachers
        take for an entity has none of the others. Otherwise a new label would creep over the old
        ones wherever no annotation tells it apart from them.
        """
        expected = self.expectations(sentences)
        is_taught = expected.unary[:, :1].sum(dim=2) > 0.5
        loss = cross_entropy(
            crf, emissions, lengths, expected, self.config.temperature, self._known
        )
        loss = loss.where(is_taught.squeeze(1), 0.0).sum()
        if annotated or bool(self._known.all()):
            return loss
        # What no teacher has read may be anything.
        is_outside = (expected.unary[:, :, :1] > 0.5) | ~is_taught.unsqueeze(2)
        return loss + crf.loss(emissions, lengths, self._known | is_outside).sum()


def open_distillation(
    recipe: Recipe,
    config: DistillConfig,
    data: Path,
    device: torch.device,
    *,
    folder: Path | None = None,
    corpora: Sequence[Iterable[Sentence]] = (),
    note: Note = lambda _: None,
) -> Distillation:
    """Return what the recipe's `[distill]` table, `config`, describes, with its files below `data`.

    What teachers say is kept in `config.keep`, by default in `folder`. Raises ModelFileError and
    DataError for files that cannot be read, TrainingError for teachers of other labels.
    """
    place = Path(config.keep) if config.keep else folder
    return Distillation(
        config,
        [load_teacher(name, data) for name in config.teachers],
        TagSet(recipe.labels),
        RawText(config.text, data, recipe.tokeniser) if config.text else None,
        longest=recipe.export.window_words,
        batch_words=recipe.training.batch_words,
        seed=recipe.seed,
        device=device,
        mixed_precision=recipe.training.mixed_precision,
        forbids=recipe.network.decoder == "crf",
        readings=None if place is None else Readings(Shelf(place, note)),
        corpora=corpora,
        note=note,
    )
