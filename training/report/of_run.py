"""What the report of a training run says beside the scores, from what the run has left."""

from collections.abc import Sequence
from pathlib import Path

from teddy.training.card import read_card
from teddy.training.checkpoint import Checkpoint
from teddy.training.config import Recipe
from teddy.training.corpus.corpora import Corpus
from teddy.training.device import choose_device, has_fast_bf16
from teddy.training.job.json_lines import JsonLines
from teddy.training.record import Record
from teddy.training.report.background import Background, ModelFacts
from teddy.training.report.cost import CostMeter
from teddy.training.report.data import data_summary
from teddy.training.report.machine import this_machine


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
