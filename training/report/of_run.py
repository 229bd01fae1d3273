"""What the report of a training run says beside the scores, from what the run has left."""

from collections.abc import Sequence
from pathlib import Path

from training.card import read_card
from training.checkpoint import Checkpoint
from training.config import Recipe
from training.corpus.corpora import Corpus
from training.device import choose_device, has_fast_bf16
from training.job.json_lines import JsonLines
from training.record import Record
from training.report.background import Background, ModelFacts
from training.report.cost import CostMeter
from training.report.data import data_summary
from training.report.machine import this_machine


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
        training_data=read_card(checkpoint.card).training_data,
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
