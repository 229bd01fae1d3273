"""What a report says beside the scores: data, model, recipe, curves, machine and cost."""

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True, kw_only=True)
class PartCounts:
    """Counts of the training or the dev part of a corpus."""

    corpus: str
    part: str
    n_sentences: int = 0
    n_words: int = 0
    n_entities: Counter[str] = field(default_factory=Counter)
    """By label; those that no words can express too."""

    def add(self, sentence: Sentence) -> None:
        """Count a sentence."""
        self.n_sentences += 1
        self.n_words += len(sentence.words)
        self.n_entities.update(span.label for span in (*sentence.spans, *sentence.misaligned))

    def as_dict(self) -> dict[str, object]:
        """Give the counts ready for JSON."""
        return {
            "corpus": self.corpus,
            "part": self.part,
            "sentences": self.n_sentences,
            "words": self.n_words,
            "entities": dict(self.n_entities),
        }


def data_summary(
    corpora: Iterable[Corpus], parts: Sequence[str] = ("train", "dev")
) -> list[PartCounts]:
    """Count the parts of all corpora; those without a sentence are left out."""
    summary = []
    for corpus in corpora:
        for part in parts:
            counts = PartCounts(corpus=corpus.name, part=part)
            for sentence in corpus.train if part == "train" else corpus.dev:
                counts.add(sentence)
            if counts.n_sentences:
                summary.append(counts)
    return summary


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

    data: Sequence[PartCounts] = ()
    model: ModelFacts | None = None
    rows: Sequence[Mapping[str, object]] = ()
    recipe: str = ""
    machine: Machine | None = None
    precision: str = ""
    cost: Cost | None = None


def run_background(
    recipe: Recipe, checkpoint: Checkpoint, corpora: Sequence[Corpus], run: Path, meter: CostMeter
) -> Background:
    """Tell all about a run in the directory `run`; the checkpoint is its best, measured.

    Reads the training data once more, to count them.
    """
    model = ModelFacts(
        name=recipe.name,
        language=recipe.language,
        labels=recipe.labels,
        training_data=read_measurements(checkpoint.card).training_data,
        card=recipe.card,
    )
    return Background(
        data=data_summary(corpora),
        model=model,
        rows=Record(run).rows(),
        recipe=recipe.dump_toml(),
        machine=this_machine(),
        precision=_precision(recipe),
        cost=meter.cost(JsonLines(run / "timings.jsonl").rows()),
    )


def _precision(recipe: Recipe) -> str:
    wanted = recipe.training.mixed_precision
    if wanted != "auto":
        return wanted
    return "bf16" if has_fast_bf16(choose_device(recipe.training.device)) else "fp32"
