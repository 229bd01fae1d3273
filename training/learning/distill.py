"""Learning from teachers: the tags that they expect are a loss for the student.

Teachers read the training sentences of the corpora, and a share of raw text in each epoch. What
they say of a sentence is kept on disk (see `teddy.training.learning.readings`), so that it is read
once, whatever the number of epochs and students; at hand in memory is what they say of the corpora
and of the epoch's share. They read words as they stand, or nearly (see
`learning.batches.words_for_teachers`); the student's words and features are dropped at random as in
all training. Sentences whose words augmentation has changed are read at once, and not kept.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from teddy.model.file.bundle import TrainingData
from teddy.model.network.crf import ConditionalRandomField
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.data.raw_text import RawText, Words, as_sentence
from teddy.training.data.shelf import Shelf
from teddy.training.data.source import plan_epoch
from teddy.training.evaluation.measurements import joined_credits
from teddy.training.learning.hugging_face import PREFIX, find_folder, load_hugging_face
from teddy.training.learning.panel import Note, Panel, Shard, Tutor
from teddy.training.learning.readings import KnownSentences, Readings
from teddy.training.learning.teacher import AnyTeacher, cross_entropy, load_teacher
from teddy.training.learning.torch_setup import choose_device
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import DistillConfig

_SHARD_WORDS = 20_000
"""What teachers say of so many words of a corpus is a file: with the slowest, half a minute."""
_MOST_CORPUS_WORDS = 5_000_000
"""What teachers say of these takes 300 MB of memory. What is over is read in each epoch."""


class Distillation:
    """The teachers of a student, and the raw text that they read beside its training sentences."""

    def __init__(
        self,
        config: DistillConfig,
        teachers: Sequence[AnyTeacher],
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
        training sentences of the `corpora` too. Teachers of the same labels are a panel. Raises
        TrainingError for a teacher that it cannot learn from (see `Teacher.places_in`).
        """
        self.config = config
        tutors = []
        for name, teacher in zip(config.teachers, teachers, strict=True):
            teacher.to(device)
            ask = partial(
                teacher.expectations,
                temperature=config.temperature,
                device=device,
                mixed_precision=mixed_precision,
            )
            about = {"teacher": Path(name).name, "labels": teacher.tag_set.labels}
            place = readings and readings.of_teacher(teacher.digest, config.temperature, about)
            places = teacher.places_in(tag_set, forbids=forbids, name=name)
            tutors.append(
                Tutor(name=name, teacher=teacher, places=places, ask=ask, folder=place or Path())
            )
        same: dict[frozenset[int], list[Tutor]] = {}
        for tutor in tutors:
            same.setdefault(frozenset(tutor.places), []).append(tutor)
        self.panels = [
            Panel(each, len(tag_set.tags), device, readings, note) for each in same.values()
        ]
        self._text = text
        self._shelved = readings.shelf.of_text(text, longest) if text and readings else None
        self._corpora = corpora if config.on_corpora and readings else ()
        self._batch_words = batch_words
        self._seed = seed
        self._of_corpora: list[KnownSentences] = []
        """Of each panel; none until they are prepared."""
        self._epoch: tuple[int, list[list[Words]]] = (-1, [])

    @property
    def training_data(self) -> tuple[TrainingData, ...]:
        """The data that the student must credit: the text, and those of its teachers."""
        config = self.config
        credit = TrainingData(name=config.name, licence=config.licence, source=config.source)
        learnt: tuple[TrainingData, ...] = (credit,) if config.text else ()
        for panel in self.panels:
            for tutor in panel.tutors:
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
        if not self._of_corpora:
            for panel in self.panels:
                panel.read(self._corpora_shards)
                self._of_corpora.append(panel.take(self._corpora_shards))
                panel.remember(self._of_corpora[-1])
        if self._shelved is None or self._epoch[0] == epoch:
            return
        self._epoch = (-1, [])
        shards = partial(self._text_shards, epoch)
        for panel, of_corpora in zip(self.panels, self._of_corpora, strict=True):
            panel.remember(of_corpora)  # two epochs' text need not be in memory at once
            panel.read(shards)
            panel.remember(of_corpora, panel.take(shards))
        sentences = [sentences[number] for sentences, wanted in shards() for number in wanted]
        lengths = [len(sentence) for sentence in sentences]
        plan = plan_epoch(lengths, [1.0] * len(lengths), self._batch_words, self._seed, epoch)
        self._epoch = (epoch, [[sentences[i] for i in members] for members in plan])

    def fill(self, epochs: int) -> None:
        """Have teachers read all that so many epochs need and is not on the shelf."""
        for panel in self.panels:
            panel.read(self._corpora_shards)
            for epoch in range(epochs):
                panel.read(partial(self._text_shards, epoch))

    def _corpora_shards(self) -> Iterator[Shard]:
        n_words = 0
        shard: list[Words] = []
        for corpus in self._corpora:
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

    def loss(
        self,
        crf: ConditionalRandomField,
        emissions: Tensor,
        lengths: Tensor,
        sentences: Sequence[Words | None],
        *,
        annotated: bool,
    ) -> Tensor:
        """Return the summed loss, in nats, of a student's emissions [B, T, K] for B sentences.

        It is the mean over all teachers of the cross-entropy among the tags that a teacher knows.
        Of a teacher that does not know all the student's labels, and sentences that are not
        `annotated`, a second loss says that what the teacher takes for an entity has none of the
        others. Otherwise a new label would creep over the old ones wherever no annotation tells it
        apart from them. Of sentences that are None, nothing is said.
        """
        read = [words for words in sentences if words is not None]
        if len(read) < len(sentences):
            rows = [row for row, words in enumerate(sentences) if words is not None]
            longest = max(map(len, read), default=0)
            emissions, lengths = emissions[rows, :longest], lengths[rows]
        n_teachers = sum(len(panel.tutors) for panel in self.panels)
        total = emissions.new_zeros((), dtype=torch.float64)
        for panel in self.panels if read else ():
            expected = panel.expectations(read)
            loss = cross_entropy(
                crf, emissions, lengths, expected, self.config.temperature, panel.known
            ).sum()
            if not (annotated or bool(panel.known.all())):
                allowed = panel.known | (expected.unary[:, :, :1] > 0.5)
                loss = loss + crf.loss(emissions, lengths, allowed).sum()
            total = total + loss * (len(panel.tutors) / n_teachers)
        return total


def open_teacher(name: str, config: DistillConfig, data: Path, labels: Sequence[str]) -> AnyTeacher:
    """Return a teacher that `distill.teachers` names; raises as `open_distillation` does."""
    if not name.startswith(PREFIX):
        return load_teacher(name, data)
    folder = find_folder(name, data)
    return load_hugging_face(folder, labels, config.map, config.pooling)


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
        [open_teacher(name, config, data, recipe.labels) for name in config.teachers],
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


def teachers_of(
    recipe: Recipe,
    corpora: Sequence[Corpus],
    data: Path,
    folder: Path | None,
    note: Note,
) -> Distillation | None:
    """Return the teachers of a recipe, if any; what they say is kept in `folder` by default."""
    if recipe.distill is None:
        return None
    return open_distillation(
        recipe,
        recipe.distill,
        data,
        choose_device(recipe.training.device),
        folder=folder,
        corpora=[corpus.train for corpus in corpora],
        note=note,
    )
