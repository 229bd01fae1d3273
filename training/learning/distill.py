"""Learning from teachers: what they expect of sentences, annotated or not, as a loss for the student.

The training sentences that an update reads anyway are read by the teachers too, and each update is
given its share of the epoch's stretch of raw text. Teachers read words as they stand, or nearly
(see `learning.batches.words_for_teachers`); the student's words and features go missing at random as in all training.
Nothing is labelled beforehand or kept: every sentence is read when its turn comes, so that a run
that was stopped needs no more than its place to go on.
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
    """The teachers of a student and what they read beside its training sentences; see the head of this file."""

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
        """`teachers` are those that `config` names, in its order; raw sentences are cut at `longest` words.

        `forbids` says whether the student forbids transitions. Raises TrainingError for a teacher
        that it cannot learn from (see `Teacher.places_in`), and for teachers of which one knows
        labels that another does not.
        """
        self.config = config
        self._teachers = [
            (teacher, teacher.places_in(tag_set, forbids=forbids, name=name))
            for teacher, name in zip(teachers, config.teachers, strict=True)
        ]
        self._n_tags = len(tag_set.tags)
        self._known = _known_to_all(
            [places for _, places in self._teachers], config.teachers, self._n_tags
        ).to(device)
        for teacher in teachers:
            teacher.network.to(device)
        self._text = text
        self._longest = longest
        self._batch_words = batch_words
        self._seed = seed
        self._device = device
        self._mixed_precision = mixed_precision
        self._batches: tuple[int, list[list[Words]]] | None = None

    @property
    def training_data(self) -> tuple[TrainingData, ...]:
        """What the student owes its credit to: all that its teachers learnt from, and the text that they read to it."""
        config = self.config
        text = (
            (TrainingData(name=config.name, licence=config.licence, source=config.source),)
            if config.text
            else ()
        )
        learnt = joined_credits((), text)
        for teacher, _ in self._teachers:
            learnt = joined_credits(learnt, teacher.training_data)
        return learnt

    @property
    def summary(self) -> str:
        """One line for whoever watches the run."""
        config = self.config
        read = ["the corpora"] if config.on_corpora else []
        read += [f"{config.words:,} words of {config.name} in each epoch"] if config.text else []
        return f"taught by {', '.join(config.teachers)} on {' and '.join(read)}"

    def batches(self, epoch: int, update: int, n_updates: int) -> list[list[Sentence]]:
        """The raw sentences of one of an epoch's `n_updates` updates, counted from 0; none where there is no text.

        All of the epoch's batches are spread evenly over its updates; where they are fewer, they
        come round again, for every update shall have some. A pure function of its arguments, of the
        seed and of the text.
        """
        if self._text is None:
            return []
        if self._batches is None or self._batches[0] != epoch:
            self._batches = None  # two epochs' text need not be in memory at once
            self._batches = (epoch, self._read(self._text, epoch))
        batches = self._batches[1]
        if len(batches) <= n_updates:
            chosen = [batches[update % len(batches)]]
        else:
            chosen = batches[
                update * len(batches) // n_updates : (update + 1) * len(batches) // n_updates
            ]
        return [[as_sentence(words) for words in batch] for batch in chosen]

    def _read(self, text: RawText, epoch: int) -> list[list[Words]]:
        sentences = text.stretch(self.config.words, self._longest, self._seed, epoch)
        lengths = [len(sentence) for sentence in sentences]
        plan = plan_epoch(lengths, [1.0] * len(lengths), self._batch_words, self._seed, epoch)
        return [[sentences[i] for i in members] for members in plan]

    def expectations(self, sentences: Sequence[Sequence[str]]) -> Expectations:
        """What the teachers expect, on the mean, of the student's tags of sentences of words, none empty."""
        return mean_expectations(
            [
                placed(
                    teacher.expectations(
                        sentences,
                        self.config.temperature,
                        device=self._device,
                        mixed_precision=self._mixed_precision,
                    ),
                    places,
                    self._n_tags,
                )
                for teacher, places in self._teachers
            ]
        )

    def loss(
        self,
        crf: ConditionalRandomField,
        emissions: Tensor,
        lengths: Tensor,
        sentences: Sequence[Sequence[str]],
        *,
        annotated: bool,
    ) -> Tensor:
        """The summed loss, in nats, of a student's emissions [B, T, K] for B sentences of words.

        It is the cross-entropy, among the tags that the teachers know. Of the others, where there
        are any and the sentences are not `annotated`, it says one thing more: what the teachers
        rather take for an entity is none of them, or a new label would creep over the old ones
        wherever it is not told apart from them.
        """
        expected = self.expectations(sentences)
        loss = cross_entropy(
            crf, emissions, lengths, expected, self.config.temperature, self._known
        ).sum()
        if annotated or bool(self._known.all()):
            return loss
        is_outside = expected.unary[:, :, :1] > 0.5
        return loss + crf.loss(emissions, lengths, self._known | is_outside).sum()


def _known_to_all(places: Sequence[Sequence[int]], names: Sequence[str], n_tags: int) -> Tensor:
    """The tags of a student, bool [K], that its teachers know, who must all know the same."""
    for name, others in zip(names, places, strict=True):
        if set(others) != set(places[0]):
            raise TrainingError(
                f"{name}: this teacher's labels are not those of {names[0]}: their mean means nothing"
            )
    known = torch.zeros(n_tags, dtype=torch.bool)
    known[list(places[0])] = True
    return known


def open_distillation(recipe: Recipe, data: Path, device: torch.device) -> Distillation | None:
    """What the recipe's `[distill]` table describes, with its files below `data`; None without such a table.

    Raises ModelFileError and DataError for files that cannot be read, TrainingError for teachers of
    other labels.
    """
    config = recipe.distill
    if config is None:
        return None
    return Distillation(
        config,
        [load_teacher(name, data) for name in config.teachers],
        TagSet(recipe.labels),
        RawText(config.text, data) if config.text else None,
        longest=recipe.export.window_words,
        batch_words=recipe.training.batch_words,
        seed=recipe.seed,
        device=device,
        mixed_precision=recipe.training.mixed_precision,
        forbids=recipe.network.decoder == "crf",
    )
