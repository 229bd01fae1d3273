"""Learning from teachers: the tags that they expect are a loss for the student.

Teachers read the training sentences of an update, and each update has its share of the epoch's raw
text. They read words as they stand, or nearly (see `learning.batches.words_for_teachers`); the
student's words and features are dropped at random as in all training. Nothing is labelled
beforehand or kept, so that a run that was stopped needs no more than its place to go on.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from teddy.model.errors import TrainingError
from teddy.model.file.bundle import TrainingData
from teddy.model.network.crf import ConditionalRandomField
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import Sentence
from teddy.training.data.raw_text import RawText, Words, as_sentence
from teddy.training.data.source import plan_epoch
from teddy.training.evaluation.measurements import joined_credits
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
    ) -> None:
        """Take the `teachers` that `config` names, in its order.

        Raw sentences are cut at `longest` words; `forbids` says whether the student forbids
        transitions. Raises TrainingError for a teacher that it cannot learn from (see
        `Teacher.places_in`), and for teachers of which one knows labels that another does not.
        """
        self.config = config
        self._teachers = [
            (teacher, teacher.places_in(tag_set, forbids=forbids, name=name))
            for teacher, name in zip(teachers, config.teachers, strict=True)
        ]
        known = self._teachers[0][1]
        for name, (teacher, places) in zip(config.teachers, self._teachers, strict=True):
            if set(places) != set(known):
                raise TrainingError(
                    f"{name}: this teacher's labels are not those of {config.teachers[0]}: "
                    "their mean means nothing"
                )
            teacher.network.to(device)
        self._n_tags = len(tag_set.tags)
        self._known = torch.zeros(self._n_tags, dtype=torch.bool, device=device)
        self._known[known] = True
        self._text = text
        self._longest = longest
        self._batch_words = batch_words
        self._seed = seed
        self._device = device
        self._mixed_precision = mixed_precision
        self._batches: tuple[int, list[list[Words]]] = (-1, [])

    @property
    def training_data(self) -> tuple[TrainingData, ...]:
        """The data that the student must credit: the text, and those of its teachers."""
        config = self.config
        credit = TrainingData(name=config.name, licence=config.licence, source=config.source)
        learnt: tuple[TrainingData, ...] = (credit,) if config.text else ()
        for teacher, _ in self._teachers:
            learnt = joined_credits(learnt, teacher.training_data)
        return learnt

    @property
    def summary(self) -> str:
        """A line on the teachers and what they read."""
        config = self.config
        read = ["the corpora"] if config.on_corpora else []
        read += [f"{config.words:,} words of {config.name} in each epoch"] if config.text else []
        return f"taught by {', '.join(config.teachers)} on {' and '.join(read)}"

    def batches(self, epoch: int, update: int, n_updates: int) -> list[list[Sentence]]:
        """Return the raw sentences of one of an epoch's updates, from 0; none without a text.

        The batches of the epoch are spread evenly over its `n_updates` updates. Where they are
        fewer, they come round again, so that every update has some. A pure function of its
        arguments, of the seed and of the text.
        """
        if self._text is None:
            return []
        if self._batches[0] != epoch:
            self._batches = (-1, [])  # two epochs' text need not be in memory at once
            self._batches = (epoch, self._read(self._text, epoch))
        batches = self._batches[1]
        n = len(batches)
        if n <= n_updates:
            chosen = [batches[update % n]]
        else:
            chosen = batches[update * n // n_updates : (update + 1) * n // n_updates]
        return [[as_sentence(words, self._text.tokeniser) for words in batch] for batch in chosen]

    def _read(self, text: RawText, epoch: int) -> list[list[Words]]:
        sentences = text.stretch(self.config.words, self._longest, self._seed, epoch)
        lengths = [len(sentence) for sentence in sentences]
        plan = plan_epoch(lengths, [1.0] * len(lengths), self._batch_words, self._seed, epoch)
        return [[sentences[i] for i in members] for members in plan]

    def expectations(self, sentences: Sequence[Sequence[str]]) -> Expectations:
        """Return the mean of the teachers' expectations of the student's tags.

        `sentences` are words; none is empty.
        """
        several = []
        for teacher, places in self._teachers:
            expected = teacher.expectations(
                sentences,
                self.config.temperature,
                device=self._device,
                mixed_precision=self._mixed_precision,
            )
            several.append(placed(expected, places, self._n_tags))
        return mean_expectations(several)

    def loss(
        self,
        crf: ConditionalRandomField,
        emissions: Tensor,
        lengths: Tensor,
        sentences: Sequence[Sequence[str]],
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
        loss = cross_entropy(
            crf, emissions, lengths, expected, self.config.temperature, self._known
        ).sum()
        if annotated or bool(self._known.all()):
            return loss
        is_outside = expected.unary[:, :, :1] > 0.5
        return loss + crf.loss(emissions, lengths, self._known | is_outside).sum()


def open_distillation(
    recipe: Recipe, config: DistillConfig, data: Path, device: torch.device
) -> Distillation:
    """Return what the recipe's `[distill]` table, `config`, describes, with its files below `data`.

    Raises ModelFileError and DataError for files that cannot be read, TrainingError for teachers of
    other labels.
    """
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
    )
