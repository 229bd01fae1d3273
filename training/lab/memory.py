"""The experiment `memory`: the words over which each cell remembers a noun's number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from torch.nn import functional

from teddy.model.config import CellName
from teddy.training.lab.agreement import VERBS, Reader, learn, make_sentences, verb_places
from teddy.training.lab.page import (
    COLOURS,
    SEEDS,
    Measured,
    Page,
    Plan,
    SizeName,
    Table,
    draw_measured,
    finish,
    over_seeds,
    words_of,
)
from teddy.training.lab.steps import trace
from teddy.training.report.figures import GREY, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELLS: tuple[CellName, ...] = ("rnn", *(each for each in get_args(CellName) if each != "rnn"))
_CHANCE = 1 / len(VERBS)
_GATED: tuple[CellName, ...] = ("gru-simple", "gru", "lstm")
"""The cells whose gates are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    gaps: tuple[int, ...]
    n_updates: int
    n_test: int
    fresh_gap: int
    """How far the gradient is followed in layers that have learnt nothing."""
    learnt_gap: int
    """One of the gaps: of the readers whose gates and gradients are looked at."""


_SIZES: dict[SizeName, _Size] = {
    "tiny": _Size(gaps=(1, 4), n_updates=2, n_test=20, fresh_gap=6, learnt_gap=4),
    "quick": _Size(gaps=(1, 5, 10, 20, 50), n_updates=80, n_test=300, fresh_gap=50, learnt_gap=5),
    "full": _Size(
        gaps=(1, 5, 10, 20, 50, 100, 200), n_updates=150, n_test=500, fresh_gap=100, learnt_gap=10
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What was measured of one cell."""

    accuracy: list[Measured]
    """For each gap, of readers that have seen only sentences of that gap."""
    mixed: list[Measured]
    """The same of readers that have seen sentences of all gaps in turn."""
    gradient: list[Measured]
    """Of the loss by the state after each word, from the first to the last; before training."""
    rate: Measured
    """The factor by which that changes with each word further back."""
    rate_learnt: Measured
    gates: dict[str, list[float]]
    """The mean of each gate at each word, of a trained reader."""


def memory(plan: Plan) -> Page:
    """Train every cell on every gap, and follow its gradient and its gates."""
    size = _SIZES[plan.size]
    found: dict[CellName, _Found] = {}
    for cell in CELLS:
        plan.say(f"{cell}: gaps of {size.gaps[0]} to {size.gaps[-1]} words")
        found[cell] = _measure(cell, size)
    return Page(
        name="memory",
        title="Memory: over how many words does a cell remember?",
        about=(
            "“The cat , which … , was”, but “The cats , which … , were”: one layer of "
            "each cell reads made-up sentences up to the verb and chooses it. Between noun and "
            f"verb stand {size.gaps[0]} to {size.gaps[-1]} words, other nouns among them. For each "
            "gap a network is trained on sentences of that gap alone, and one on all gaps in turn, "
            f"each for at most {size.n_updates} updates of 32 sentences."
        ),
        findings=_findings(size, found),
        figures=[
            (
                "Verbs chosen rightly, by the words between noun and verb",
                _draw_accuracy(size, found),
            ),
            (
                "The gradient of the loss by the state after an earlier word, before training, "
                "as a share of that at the last word",
                _draw_gradients(found),
            ),
            ("What the gates do along a sentence, after training", _draw_gates(size, found)),
        ],
        tables=_tables(size, found),
        notes=[
            "“Above chance”: the interval lies above 50 %. The rate is that of an exponential "
            "fitted to the norm of the gradient by the least squares of its logarithm; of a layer "
            "with a cell, the gradient is by hidden state and cell together."
        ],
        data={"gaps": size.gaps, "cells": found},
    )


def _measure(cell: CellName, size: _Size) -> _Found:
    by_seed = [
        [learn(cell, [gap], seed, size.n_updates, size.n_test)[0] for gap in size.gaps]
        for seed in SEEDS
    ]
    mixed = [learn(cell, size.gaps, seed, size.n_updates, size.n_test) for seed in SEEDS]
    fresh = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        fresh.append(gradient_norms(Reader(cell), size.fresh_gap))
    readers = [runs[size.gaps.index(size.learnt_gap)].reader for runs in by_seed]
    learnt = [gradient_norms(reader, size.learnt_gap) for reader in readers]
    return _Found(
        accuracy=over_seeds([[each.accuracy for each in runs] for runs in by_seed]),
        mixed=over_seeds([[each.accuracy for each in runs] for runs in mixed]),
        gradient=over_seeds([[norm / norms[-1] for norm in norms] for norms in fresh]),
        rate=Measured(tuple(map(rate, fresh))),
        rate_learnt=Measured(tuple(map(rate, learnt))),
        gates=_gates(readers[0], size.learnt_gap),
    )


def gradient_norms(reader: Reader, gap: int, n: int = 64) -> list[float]:
    """Return the norm of the loss's gradient by the state after each word, from the first on.

    It is the mean over `n` sentences, each with its own loss.
    """
    words, verbs = make_sentences(gap, n, torch.Generator().manual_seed(1))
    states = trace(reader.recurrence, reader.embedding(words))
    loss = functional.cross_entropy(reader.verb(states.hidden[-1]), verbs, reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    norms = []
    for pair in zip(states.hidden, states.cell, strict=True):
        # where there is no cell, it is the hidden state once more
        squares = [each.grad.square().sum(dim=1) for each in {*pair} if each.grad is not None]
        norms.append(torch.stack(squares).sum(dim=0).sqrt().mean().item())
    return norms


def rate(norms: Sequence[float]) -> float:
    """Fit norm = a * rate ** (words back); norms of 0 say nothing and are left out."""
    kept = [(len(norms) - 1 - place, norm) for place, norm in enumerate(norms) if norm > 0]
    if len(kept) < 2:
        return 0.0
    back, logarithms = [each[0] for each in kept], np.log([each[1] for each in kept])
    return float(np.exp(np.polyfit(back, logarithms, 1)[0]))


@torch.no_grad()
def _gates(reader: Reader, gap: int) -> dict[str, list[float]]:
    words, verbs = make_sentences(gap, 64, torch.Generator().manual_seed(1))
    words = torch.cat((words, verb_places(verbs).unsqueeze(0)))
    found = trace(reader.recurrence, reader.embedding(words)).gates
    names = found[0].keys()
    return {name: [step[name].mean().item() for step in found] for name in names}


def last_above_chance(gaps: Sequence[int], accuracy: Sequence[Measured]) -> int:
    """Return the largest gap at which a cell is above chance; 0 for none."""
    return max(
        (gap for gap, each in zip(gaps, accuracy, strict=True) if each.low > _CHANCE), default=0
    )


def _findings(size: _Size, found: Mapping[CellName, _Found]) -> list[str]:
    sentences = [
        f"{cell} is above chance {_reach(size, each.accuracy)} if trained on that gap alone, and "
        f"{_reach(size, each.mixed)} if trained on all gaps in turn; before training, its gradient "
        f"changes by a factor of {each.rate.number()} with each word further back."
        for cell, each in found.items()
    ]
    end = size.gaps[-1]
    mixed = [
        cell
        for cell, each in found.items()
        if each.mixed[-1].low > _CHANCE >= each.accuracy[-1].low
    ]
    sentences.append(
        f"At a gap of {end}, {words_of(mixed)} {'is' if len(mixed) == 1 else 'are'} above chance "
        "only if trained on shorter gaps too: what fails on long ones alone is finding the way "
        "back over so many words, not keeping the noun."
        if mixed
        else f"Training on all gaps in turn brings no further cell above chance at a gap of {end}."
    )
    return sentences


def _reach(size: _Size, accuracy: Sequence[Measured]) -> str:
    last = last_above_chance(size.gaps, accuracy)
    if not last:
        return "at no gap"
    return f"up to a gap of {last} ({accuracy[size.gaps.index(last)].percent()} % right)"


def _draw_accuracy(size: _Size, found: Mapping[CellName, _Found]) -> "Figure":
    figure = new_figure(7, 2.8)
    titles = ("trained on this gap alone", "trained on all gaps in turn")
    for axes, title in zip(figure.subplots(1, 2, sharey=True), titles, strict=True):
        is_first = title == titles[0]
        for number, (cell, each) in enumerate(found.items()):
            accuracy = each.accuracy if is_first else each.mixed
            # a little apart, as the intervals of cells would hide each other
            places = [gap * 1.05 ** (number - len(found) // 2) for gap in size.gaps]
            draw_measured(axes, places, accuracy, cell, number, (0, 1), 100)
        axes.axhline(100 * _CHANCE, color=GREY, linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xticks(size.gaps, [str(gap) for gap in size.gaps])
        axes.minorticks_off()
        finish(axes, "words between", "right, %" if is_first else "", title, legend=is_first)
    return figure


def _draw_gradients(found: Mapping[CellName, _Found]) -> "Figure":
    figure = new_figure(7, 2.8)
    axes = figure.subplots()
    for number, (cell, each) in enumerate(found.items()):
        back = range(len(each.gradient) - 1, -1, -1)
        means = [norm.mean for norm in each.gradient]
        label = f"{cell}: {each.rate.mean:.3g} a word"
        axes.plot(back, means, label=label, color=COLOURS[number], linewidth=1.4)
    axes.set_yscale("log")
    axes.set_ylim(bottom=1e-12)
    finish(axes, "words back from the last", "norm of the gradient")
    return figure


def _draw_gates(size: _Size, found: Mapping[CellName, _Found]) -> "Figure":
    figure = new_figure(7, 2.8)
    gap = size.learnt_gap
    names = ["The", "cat(s)", ",", "which", *["…"] * (gap - 3), ",", "was/were"]
    for axes, cell in zip(figure.subplots(1, len(_GATED), sharey=True), _GATED, strict=True):
        for number, (gate, means) in enumerate(found[cell].gates.items()):
            axes.plot(means, label=gate, color=f"C{number}", marker="o", markersize=3)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        finish(axes, "", "mean of the units" if cell == _GATED[0] else "", cell)
        axes.set_ylim(0, 1)
    return figure


def _tables(size: _Size, found: Mapping[CellName, _Found]) -> list[Table]:
    heads = ["cell", *(f"gap {gap}" for gap in size.gaps)]
    rows = [[cell, *(each.percent() for each in of.accuracy)] for cell, of in found.items()]
    mixed = [[cell, *(each.percent() for each in of.mixed)] for cell, of in found.items()]
    rates = [[cell, of.rate.number(), of.rate_learnt.number()] for cell, of in found.items()]
    learnt = f"trained on a gap of {size.learnt_gap}"
    return [
        Table(
            "Verbs chosen rightly, in %, and their interval: a network for each gap", heads, rows
        ),
        Table("The same, by networks that have learnt from all gaps in turn", heads, mixed),
        Table("The factor of the gradient a word further back", ["cell", "fresh", learnt], rates),
    ]
