"""A training run on a cluster: Ray Train starts the processes, again whenever one of them dies.

The directory of the run must be one that all nodes see, and the data must lie under one path on
each of them. The workers make the run there as `teddy train --resume` does, so that after a failure
they go on from its last checkpoint; Ray keeps no checkpoints of its own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train import TrainingFailedError as RayTrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from teddy.model.errors import DivergedError, TeddyError, TrainingError
from teddy.training.job.run_directory import RunDirectory
from teddy.training.learning.distributed.process_group import (
    PATIENCE,
    LostProcessError,
    current_group,
)
from teddy.training.recipe.recipe import Recipe
from teddy.training.run import train

RAY_DIRECTORY = "ray"
"""The folder of Ray's own files in the directory of the run."""


def train_on_ray(
    recipe: Recipe,
    data: Path,
    output: Path,
    *,
    n_workers: int,
    resume: bool = False,
    most_failures: int = 3,
) -> Path:
    """Train as `teddy.training.run.train` does, with workers of this process's Ray cluster.

    Each worker takes a CPU, and a GPU where the recipe's device is cuda. When one dies all are
    started again and go on from the last checkpoint, `most_failures` times; what is wrong with the
    recipe or the data is not tried again.

    Raises DivergedError as `train` does, and TrainingError for all else: also when workers have
    died too often.
    """
    model_file = output.absolute() / f"{recipe.name}.teddy"
    # Checked here and not in the workers, which resume what is there: they may be restarted ones.
    if RunDirectory(output).newest.exists() and not model_file.exists() and not resume:
        raise TrainingError(
            f"{output} holds a run already: --resume goes on with it, another --output starts over"
        )
    uses_gpu = recipe.training.device == "cuda"
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "recipe": recipe,
            "data": data.absolute(),
            "output": output.absolute(),
        },
        torch_config=TorchConfig(
            backend="cpu:gloo,cuda:nccl" if uses_gpu else "gloo",
            timeout_s=int(PATIENCE.total_seconds()),
        ),
        scaling_config=ScalingConfig(num_workers=n_workers, use_gpu=uses_gpu),
        run_config=RunConfig(
            name=recipe.name,
            storage_path=str(output.absolute() / RAY_DIRECTORY),
            failure_config=FailureConfig(max_failures=most_failures),
        ),
    )
    try:
        found = trainer.fit().return_value
    except RayTrainingFailedError as error:
        raise TrainingError(
            f"the workers failed too often: {str(error).strip().splitlines()[-1]}"
        ) from error
    if found is not None:
        raise (DivergedError if found.has_diverged else TrainingError)(found.message)
    return model_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error that would come again, as plain values: not every exception can be pickled."""

    message: str
    has_diverged: bool


def _work(config: dict[str, Any]) -> Refusal | None:
    """Do a worker's work; an error that would come again is returned, so that it is not retried."""
    group = current_group(n_here=get_context().get_local_world_size())
    try:
        train(**config, resume=True, group=group)
    except LostProcessError:
        raise
    except TeddyError as error:
        if dist.is_initialized():
            dist.destroy_process_group()  # the others must not wait for this process
        return Refusal(message=str(error), has_diverged=isinstance(error, DivergedError))
    return None
