"""Teachers as taggers: the entities that they find, their speed and size beside their student's."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from teddy.model.network.crf import ConditionalRandomField
from teddy.model.predictor import load
from teddy.model.system.files import write_atomically
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.corpora import load_corpora
from teddy.training.data.readers.files import files_within
from teddy.training.evaluation.comparing import measure_speeds
from teddy.training.evaluation.evaluate import Predict, ScoredSpan, evaluate
from teddy.training.evaluation.measurements import annotated_labels, dev_sentences, prediction
from teddy.training.learning.distill import Distillation, open_distillation
from teddy.training.learning.hugging_face import PREFIX, find_folder
from teddy.training.learning.start import find_weights
from teddy.training.recipe.recipe import Recipe
from teddy.training.report.markdown import percent

TAGGED = "tagged"
"""The name of a corpus that teachers have tagged."""
_BATCH_WORDS = 4_096
_SPEED_WORDS = 3_000
"""Slow teachers read 600 words a second."""
_TURNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherReport:
    """A student beside its teachers, on the same sentences and one thread of one machine."""

    teachers: tuple[str, ...]
    student: str
    n_sentences: int
    n_words: int
    is_gold: bool
    """Whether the sentences are annotated; else the teachers' entities are taken for right."""
    f1: tuple[float, float]
    """Of the teachers together and of the student, as all pairs here."""
    words_per_second: tuple[float, float]
    n_bytes: tuple[int, int]

    @property
    def kept(self) -> float:
        """The share of the teachers' F1 that the student has."""
        return self.f1[1] / self.f1[0] if self.f1[0] else 0.0

    def lines(self) -> Iterator[str]:
        """Yield the report as plain text."""
        names = [" and ".join(self.teachers), self.student]
        width = max(map(len, names))
        yield f"{'':9}{'':{width}}  {'F1 on dev':>9}  {'words/s':>9}  {'size':>9}"
        for row, role in enumerate(("teacher", "student")):
            yield (
                f"{role:9}{names[row]:{width}}  {percent(self.f1[row]):>9}  "
                f"{self.words_per_second[row]:>9,.0f}  {self.n_bytes[row] / 1e6:>6,.1f} MB"
            )
        faster = self.words_per_second[1] / self.words_per_second[0]
        smaller = self.n_bytes[0] / self.n_bytes[1]
        yield (
            f"the student keeps {self.kept:.1%} of the F1, {faster:,.1f} times as fast, "
            f"{smaller:,.1f} times as small"
        )
        if not self.is_gold:
            yield "dev has what the teachers found, not annotations: F1 is how far they agree"

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        fields = {**asdict(self), "f1_kept": self.kept}
        write_atomically(path, json.dumps(fields, ensure_ascii=False, indent=1) + "\n")


def found_by(distillation: Distillation, labels: Sequence[str]) -> Predict:
    """Return teachers as a tagger: the most probable tags, by the mean of those of equal labels.

    Where teachers of other labels find other entities in the same words, the first are right.
    """
    tag_set = TagSet(tuple(labels))
    # Scores of zero: only what may not follow each other is left of a field.
    allowed = tag_set.allowed_transitions(), tag_set.allowed_first(), tag_set.allowed_last()
    field = ConditionalRandomField(*allowed)

    def predict(sentences: Sequence[Sequence[str]]) -> list[list[ScoredSpan]]:
        found: list[list[Span]] = [[] for _ in sentences]
        order = sorted(range(len(sentences)), key=lambda number: len(sentences[number]))
        for members in _batches(order, [len(words) for words in sentences]):
            words = [tuple(sentences[number]) for number in members]
            lengths = torch.tensor([len(each) for each in words])
            for panel in distillation.panels:
                unary = panel.expectations(words).unary.cpu()
                with torch.no_grad():
                    tags = field.best_path(unary.clamp_min(1e-12).log(), lengths)
                at_words = torch.arange(tags.shape[1]) < lengths.unsqueeze(1)
                rows = tag_set.decode_rows(np.where(at_words, tags.numpy(), 0))
                for row, start, end, label in zip(*(each.tolist() for each in rows), strict=True):
                    _add(found[members[row]], Span(start, end, labels[label]))
        return [[ScoredSpan(span) for span in sorted(spans)] for spans in found]

    return predict


def _add(spans: list[Span], span: Span) -> None:
    if all(span.end <= other.start or other.end <= span.start for other in spans):
        spans.append(span)


def _batches(order: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    for number in order:
        if batch and (len(batch) + 1) * lengths[number] > _BATCH_WORDS:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def report_on(recipe: Recipe, data: Path, model_file: Path) -> TeacherReport:
    """Measure the teachers of a recipe and the model that it made, on its dev sentences."""
    config = recipe.distill
    if config is None:
        raise ValueError("a recipe without teachers")
    torch.set_num_threads(1)
    alone = config.model_copy(update={"text": ()})
    teachers = open_distillation(recipe, alone, data, torch.device("cpu"))
    student = load(model_file)
    corpora = load_corpora(recipe, data)
    sentences, annotates = dev_sentences(corpora), annotated_labels(corpora)
    both: tuple[Predict, Predict] = (
        found_by(teachers, recipe.labels),
        prediction(student.tagger),
    )
    f1 = [evaluate(each, sentences, annotates, worst=0).scores.micro.f1 for each in both]
    # The processor's time of one thread: a student's turn of 40 ms is soon disturbed (on a machine
    # with other work 34 times as fast by the clock on the wall, 54 times by this one).
    speeds = measure_speeds(
        *both, sentences, turns=_TURNS, most_words=_SPEED_WORDS, clock=time.process_time
    )
    return TeacherReport(
        teachers=config.teachers,
        student=str(model_file),
        n_sentences=len(sentences),
        n_words=sum(len(sentence.words) for sentence in sentences),
        is_gold=not any(corpus.dev and corpus.name == TAGGED for corpus in recipe.corpus),
        f1=(f1[0], f1[1]),
        words_per_second=(speeds.first, speeds.second),
        n_bytes=(
            sum(_size(name, data) for name in config.teachers),
            model_file.stat().st_size,
        ),
    )


def _size(name: str, data: Path) -> int:
    """Return the bytes of a teacher's file; of a folder, those of its weights."""
    if not name.startswith(PREFIX):
        return find_weights(name, data).stat().st_size
    files = files_within(find_folder(name, data))
    weights = [each for each in files if each.suffix == ".safetensors"]
    return sum(each.stat().st_size for each in weights)
