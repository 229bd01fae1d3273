"""Where matplotlib is imported: figures without a display and without global state, saved whole."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from teddy.model.errors import TrainingError
from teddy.model.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# From the Okabe-Ito palette, which people with any of the common colour deficiencies tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8A8A8A"


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure, in inches, that keeps its panels from overlapping.

    Raises: TrainingError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TrainingError("plots need matplotlib: pip install 'teddy[train]'") from error
    return Figure(figsize=(width, height), layout="constrained")


@contextmanager
def optional_figure(note: Callable[[str], None], file_name: str) -> Iterator[None]:
    """Let a block fail to draw a picture for lack of matplotlib, and note it."""
    try:
        yield
    except TrainingError as error:
        note(f"no {file_name}: {error}")


def save_figure(figure: "Figure", path: Path | str) -> None:
    """Write a PNG, whole or not at all; equal figures give equal files."""
    with warnings.catch_warnings():
        # A label in a script that matplotlib's font lacks is drawn as boxes; the tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
