"""What a report says beside the scores: data, model, recipe, curves, machine and cost."""

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from teddy.model.file.bundle import Manifest, TrainingData
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.evaluation.measurements import read_measurements
from teddy.training.job.record import JsonLines, Record
from teddy.training.learning.checkpoint import Checkpoint
from teddy.training.learning.torch_setup import choose_device, has_fast_bf16
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import CardConfig
from teddy.training.report.machine import Cost, CostMeter, Machine, this_machine


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusCounts:
    """Counts of the training or the dev part of a corpus."""

    corpus: str
    part: str
    n_sentences: int
    n_words: int
    n_entities: Counter[str]
    """By label; those that no words can express too."""

    def as_dict(self) -> dict[str, object]:
        """Give the counts ready for JSON."""
        return {
            "corpus": self.corpus,
            "part": self.part,
            "sentences": self.n_sentences,
            "words": self.n_words,
            "entities": dict(self.n_entities),
        }


def count_corpus(corpus: str, part: str, sentences: Iterable[Sentence]) -> CorpusCounts:
    """Count sentences, reading each once."""
    n_sentences = n_words = 0
    labels: Counter[str] = Counter()
    for sentence in sentences:
        n_sentences += 1
        n_words += len(sentence.words)
        labels.update(span.label for span in (*sentence.spans, *sentence.misaligned))
    return CorpusCounts(
        corpus=corpus, part=part, n_sentences=n_sentences, n_words=n_words, n_entities=labels
    )


def data_summary(
    corpora: Iterable[Corpus], parts: Sequence[str] = ("train", "dev")
) -> list[CorpusCounts]:
    """Count the parts of all corpora; those without a sentence are left out."""
    counts = (
        count_corpus(corpus.name, part, corpus.train if part == "train" else corpus.dev)
        for corpus in corpora
        for part in parts
    )
    return [each for each in counts if each.n_sentences]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The model, its training data and its use; `card` is the recipe's `[card]` table."""

    name: str
    language: str
    labels: tuple[str, ...]
    training_data: tuple[TrainingData, ...]
    card: CardConfig

    @classmethod
    def of(cls, manifest: Manifest) -> "ModelFacts":
        """Take the facts from a model file."""
        recipe = tomllib.loads(manifest.recipe)
        return cls(
            name=manifest.name,
            language=manifest.language,
            labels=manifest.labels,
            training_data=manifest.training_data,
            card=CardConfig.model_validate_json(json.dumps(recipe.get("card", {}))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What is None or empty is left out of the report.

    Attributes:
        data: the parts of the corpora.
        rows: of the run's metrics.jsonl.
        recipe: resolved, as TOML.
        precision: what the network computed in.
    """

    data: Sequence[CorpusCounts] = ()
    model: ModelFacts | None = None
    rows: Sequence[Mapping[str, object]] = ()
    recipe: str = ""
    machine: Machine | None = None
    precision: str = ""
    cost: Cost | None = None


def run_background(
    recipe: Recipe, checkpoint: Checkpoint, corpora: Sequence[Corpus], run: Path, meter: CostMeter
) -> Background:
    """Return all that is known of a run in the directory `run`; the checkpoint is its best.

    Reads the training data once more, to count them.
    """
    training = recipe.training
    precision: str = training.mixed_precision
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(choose_device(training.device)) else "fp32"
    return Background(
        data=data_summary(corpora),
        model=ModelFacts(
            name=recipe.name,
            language=recipe.language,
            labels=recipe.labels,
            training_data=read_measurements(checkpoint.card).training_data,
            card=recipe.card,
        ),
        rows=Record(run).rows(),
        recipe=recipe.dump_toml(),
        machine=this_machine(),
        precision=precision,
        cost=meter.cost(JsonLines(run / "timings.jsonl").rows()),
    )
