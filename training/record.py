"""The record of a training run: `metrics.jsonl`, one flat JSON object a line.

Two runs of one recipe and one seed give equal files, byte for byte, however often one of them was killed and resumed:
what a clock decides is kept elsewhere (see training/job/timings.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from teddy.training.curves import draw_curves
from teddy.training.job.json_lines import JsonLines, Value


class Losses(TypedDict):
    """Of one batch, means over words: against its annotations, and against teachers where there are any."""

    loss: float
    distillation_loss: NotRequired[float]


class UpdateRow(Losses):
    """One step of the optimiser. `step` and `epoch` count from 1; `gradient_norm` is that before clipping.

    `n_words` are those of the batch; `words_per_second` is told to whoever looks on, and not recorded.
    """

    kind: Literal["update"]
    step: int
    epoch: int
    gradient_norm: float
    learning_rate: float
    n_words: int
    words_per_second: float


class EvaluationRow(TypedDict):
    """Scores on dev after `step`, ratios 0 to 1; `best` says whether they beat all earlier ones."""

    kind: Literal["evaluation"]
    step: int
    epoch: int
    f1: float
    precision: float
    recall: float
    loss: float
    best: bool


class HeldOutRow(TypedDict):
    """What a network in pre-training makes of held-out text after `step`, when it had read so many words in all.

    `perplexity` and `accuracy` (0 to 1) are of guessed words, `detection_accuracy` of verdicts whether a word was
    replaced; None where the objective asks no such thing.
    """

    kind: Literal["held_out"]
    step: int
    epoch: int
    words: int
    perplexity: float | None
    accuracy: float | None
    detection_accuracy: float | None


Row = UpdateRow | EvaluationRow | HeldOutRow


def without_clock(row: Row) -> dict[str, object]:
    """Return a row without what a clock decided, which is what a run records of it."""
    return {key: value for key, value in row.items() if key != "words_per_second"}


class Record(JsonLines):
    """The rows in `directory`/metrics.jsonl. One writer at a time; readers may look on."""

    def __init__(self, directory: Path | str) -> None:
        super().__init__(Path(directory) / "metrics.jsonl")

    def truncate_after(self, step: int, evaluated: int | None = None) -> None:
        """Forget the rows of later steps, so that a run resumed after `step` gives the file of an uninterrupted one.

        `evaluated` is the last step that has been evaluated, where that is not `step`.
        """
        evaluated = step if evaluated is None else evaluated

        def is_later(row: Mapping[str, Value]) -> bool:
            number = row.get("step", 0)
            return isinstance(number, int) and number > (step if row.get("kind") == "update" else evaluated)

        self.truncate_at(is_later)

    def plot(self, path: Path | str) -> None:
        """Draw the curves, see `teddy.training.curves.draw_curves`.

        Raises: TrainingError where matplotlib is not installed.
        """
        draw_curves(self.rows(), path)
