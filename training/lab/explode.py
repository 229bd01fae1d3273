"""The experiment `explode`: recurrent matrices of a radius above one, with and without clipping."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from teddy.model.network.cells import Kernel
from teddy.training.lab.agreement import WIDTH, Reader, make_sentences
from teddy.training.lab.page import (
    COLOURS,
    SEEDS,
    Page,
    Plan,
    SizeName,
    Table,
    finish,
    words_of,
)
from teddy.training.report.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CLIPS = ("none", "by norm", "by value")
_LARGEST = 1.0
"""Of the gradient's norm, or of each of its values."""
_RADII = (0.8, 1.0, 1.25, 1.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    gap: int
    n_updates: int


_SIZES: dict[SizeName, _Size] = {
    "tiny": _Size(gap=6, n_updates=3),
    "quick": _Size(gap=50, n_updates=20),
    "full": _Size(gap=100, n_updates=50),
}
_Run = list[tuple[float, float]]
"""The loss and the norm of the gradient before clipping, of each update."""


def explode(plan: Plan) -> Page:
    """Train plain recurrent layers by gradient descent from matrices of several radii."""
    size = _SIZES[plan.size]
    runs: dict[tuple[str, float, str], list[_Run]] = {}
    for unit in ("tanh", "relu"):
        plan.say(f"rnn with {unit}: radii of {_RADII[0]} to {_RADII[-1]}")
        for radius in _RADII:
            for clip in _CLIPS:
                runs[unit, radius, clip] = [
                    descend(unit, radius, clip, seed, size.gap, size.n_updates) for seed in SEEDS
                ]
    return Page(
        name="explode",
        title="Explode: recurrent matrices of a radius above one",
        about=(
            "A plain recurrent layer, whose recurrent matrix begins as a rotation times a radius, "
            f"learns by gradient descent to choose a verb {size.gap} words behind its noun: with "
            "tanh, which bounds the states, and with ReLU, which does not. The gradient is taken "
            f"as it is, shortened to a norm of {_LARGEST:g}, or cut at values of ±{_LARGEST:g}."
        ),
        findings=_findings(runs),
        figures=[
            (
                "The norm of the gradient at each update, first seed; a cross ends a lost run",
                _draw(runs),
            )
        ],
        tables=[
            Table(
                "For each radius and clipping: the norm of the first gradient (the median of the "
                "seeds), the largest norm of all, the mean loss of the last tenth of the updates, "
                "and the runs that ended in NaN or infinity",
                [
                    "layer, radius, clipping",
                    "first norm",
                    "largest norm",
                    "last loss",
                    "not finite",
                ],
                [_row(key, each) for key, each in runs.items()],
            )
        ],
        notes=[
            f"A loss of {math.log(2):.2f} is that of a guess. `teddy train` clips by norm, and "
            "stops with exit code 3, before it changes a weight, when a loss or a gradient is not "
            "finite."
        ],
        data={
            f"{unit}, radius {radius:g}, clipping {clip}": [
                [[_finite(loss), _finite(norm)] for loss, norm in run] for run in each
            ]
            for (unit, radius, clip), each in runs.items()
        },
    )


def descend(
    unit: str, radius: float, clip: str, seed: int, gap: int, n_updates: int, rate: float = 0.1
) -> _Run:
    """Take steps of gradient descent until the loss or the gradient is not finite."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    layer = Kernel(nn.RNN(WIDTH, WIDTH, nonlinearity=unit))
    reader = Reader("rnn", layer)
    with torch.no_grad():
        # orthogonal, as every layer's at the start
        layer.layer.all_weights[0][1].mul_(radius)
    parameters = [*reader.parameters()]
    run: _Run = []
    for _ in range(n_updates):
        words, verbs = make_sentences(gap, 32, random)
        loss = functional.cross_entropy(reader(words), verbs)
        reader.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
        run.append((loss.item(), norm.item()))
        if not all(map(math.isfinite, run[-1])):
            break
        if clip == "by norm":
            nn.utils.clip_grads_with_norm_(parameters, _LARGEST, norm)
        elif clip == "by value":
            nn.utils.clip_grad_value_(parameters, _LARGEST)
        with torch.no_grad():
            for each in parameters:
                if each.grad is not None:
                    each.sub_(rate * each.grad)
    return run


def _is_finite(run: _Run) -> bool:
    return all(map(math.isfinite, run[-1]))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _row(key: tuple[str, float, str], runs: Sequence[_Run]) -> list[str]:
    unit, radius, clip = key
    largest = max((norm for run in runs for _, norm in run if math.isfinite(norm)), default=0.0)
    kept = [run for run in runs if _is_finite(run)]
    losses = [sum(loss for loss, _ in last) / len(last) for run in kept for last in [_last(run)]]
    return [
        f"{unit}, {radius:g}, {clip}",
        f"{_first_norm(runs):.2g}",
        f"{largest:.2g}",
        f"{sum(losses) / len(losses):.3g}" if losses else "",
        f"{len(runs) - len(kept)} of {len(runs)}",
    ]


def _last(run: _Run) -> _Run:
    return run[-max(1, len(run) // 10) :]


def _findings(runs: dict[tuple[str, float, str], list[_Run]]) -> list[str]:
    sentences = []
    for unit in ("tanh", "relu"):
        low, high = (_first_norm(runs[unit, radius, "none"]) for radius in (1.0, _RADII[-1]))
        sentences.append(
            f"With {unit}, the first gradient is {high / low:.2g} times as long from a radius of "
            f"{_RADII[-1]:g} as from 1."
        )
    for clip in _CLIPS:
        lost = [
            f"{unit} at {radius:g} ({sum(not _is_finite(run) for run in each)} of {len(each)})"
            for (unit, radius, by), each in runs.items()
            if by == clip and not all(map(_is_finite, each))
        ]
        how = "Without clipping" if clip == "none" else f"With clipping {clip}"
        sentences.append(
            f"{how}, runs end in NaN or infinity: {words_of(lost)}."
            if lost
            else f"{how}, no run ends in NaN or infinity."
        )
    return sentences


def _first_norm(runs: Sequence[_Run]) -> float:
    return median(run[0][1] for run in runs)


def _draw(runs: dict[tuple[str, float, str], list[_Run]]) -> "Figure":
    figure = new_figure(6, 2.5)
    shown = [(1.0, "none"), *((_RADII[-1], clip) for clip in _CLIPS)]
    for axes, unit in zip(figure.subplots(1, 2, sharey=True), ("tanh", "relu"), strict=True):
        for number, (radius, clip) in enumerate(shown):
            run = runs[unit, radius, clip][0]
            norms = [norm if 0 < norm < math.inf else math.nan for _, norm in run]
            (line,) = axes.plot(norms, label=f"radius {radius:g}, clipping {clip}", linewidth=1.2)
            line.set_color(COLOURS[number])
            if not _is_finite(run):
                last = max((place for place, norm in enumerate(norms) if norm > 0), default=0)
                axes.plot([last], norms[last : last + 1], "x", color=COLOURS[number], markersize=8)
        axes.set_yscale("log")
        y = "norm of the gradient" if unit == "tanh" else ""
        finish(axes, "update", y, unit, legend=unit == "tanh")
    return figure
