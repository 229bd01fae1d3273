"""The experiments `directions`, `depth` and `cells`: taggers of several shapes on one corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from teddy.model.config import NetworkConfig
from teddy.training.lab.corpus import Material, Trial, score, train_tagger
from teddy.training.lab.memory import CELLS
from teddy.training.lab.page import (
    SEEDS,
    Measured,
    Page,
    Plan,
    Table,
    differs,
    draw_bars,
    draw_measured,
    finish,
    words_of,
)
from teddy.training.report.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A shape of tagger, trained once for each seed."""

    f1: dict[str, Measured]
    """Of all entities, and of each kind."""
    seconds: Measured
    n_parameters: int
    gradients: dict[str, Measured]

    @property
    def whole(self) -> Measured:
        """F1 of all entities."""
        return self.f1["all"]


def try_variants(
    material: Material,
    configs: Mapping[str, NetworkConfig],
    plan: Plan,
    *,
    leftwards: Sequence[str] = (),
) -> dict[str, Variant]:
    """Train each shape with each seed; those in `leftwards` read from the last word on."""
    found = {}
    for name, config in configs.items():
        plan.say(f"{name}: {len(SEEDS)} taggers")
        trials = [
            train_tagger(material, config, seed, leftwards=name in leftwards) for seed in SEEDS
        ]
        found[name] = summed_up(material, trials)
    return found


def summed_up(material: Material, trials: Sequence[Trial]) -> Variant:
    """Measure the taggers of several seeds on dev."""
    scores = [score(material, trial.predict) for trial in trials]
    kinds = dict.fromkeys(kind for each in scores for kind in each)
    return Variant(
        f1={
            kind: Measured(tuple(each[kind].f1 if kind in each else 0.0 for each in scores))
            for kind in kinds
        },
        seconds=Measured(tuple(trial.seconds for trial in trials)),
        n_parameters=trials[0].n_parameters,
        gradients={
            layer: Measured(tuple(trial.gradients[layer] for trial in trials))
            for layer in trials[0].gradients
        },
    )


def compared(variants: Mapping[str, Variant], first: str, second: str, kind: str = "all") -> str:
    """Say in a sentence how two shapes compare in F1, seed by seed."""
    a, b = variants[first].f1[kind], variants[second].f1[kind]
    where = "" if kind == "all" else f", {kind}"
    if not differs(a, b):
        return (
            f"{first} ({a.percent()}) and {second} ({b.percent()}) cannot be told apart in F1"
            f"{where}."
        )
    better, worse = (first, second) if a.mean > b.mean else (second, first)
    high, low = max(a, b, key=lambda m: m.mean), min(a, b, key=lambda m: m.mean)
    return f"{better} is better than {worse} in F1{where}: {high.percent()} and {low.percent()}."


def f1_table(variants: Mapping[str, Variant]) -> Table:
    """Return F1 of each shape, of all entities and of each kind."""
    kinds = list(dict.fromkeys(kind for each in variants.values() for kind in each.f1))
    rows = [
        [name, *(each.f1[kind].percent() if kind in each.f1 else "" for kind in kinds)]
        for name, each in variants.items()
    ]
    return Table("F1 on dev, in %, and its interval", ["tagger", *kinds], rows)


def _cost_table(variants: Mapping[str, Variant]) -> Table:
    rows = [
        [name, f"{each.n_parameters:,}", each.seconds.number(2), each.whole.percent()]
        for name, each in variants.items()
    ]
    heads = ["tagger", "parameters", "seconds", "F1"]
    caption = "Parameters without the table of word features, processor seconds of training, F1"
    return Table(caption, heads, rows)


def directions(plan: Plan, material: Material) -> Page:
    """Compare taggers that read from the left, from the right, and from both sides."""
    one_way = replace(material.network, bidirectional=False)
    configs = {"from the left": one_way, "from the right": one_way, "both": material.network}
    found = try_variants(material, configs, plan, leftwards=["from the right"])
    kinds = [kind for kind in found["both"].f1 if kind != "all"]
    worst = {
        name: min(kinds, key=lambda kind: each.f1[kind].mean)
        for name, each in found.items()
        if kinds and all(kind in each.f1 for kind in kinds)
    }
    return Page(
        name="directions",
        title="Directions: why a tagger must look both ways",
        about=(
            "After “He said, Teddy …” only the words that follow tell Teddy Roosevelt from Teddy "
            "bears. Taggers of one layer that reads from the left, from the right, and both ways. "
            + material.about()
        ),
        findings=[
            compared(found, "both", "from the left"),
            compared(found, "both", "from the right"),
            *(
                f"Reading {name} is worst with “{kind}”: F1 {found[name].f1[kind].percent()}."
                for name, kind in worst.items()
                if name != "both"
            ),
        ],
        figures=[("F1 by where the entity stands", _draw_kinds(found))],
        tables=[f1_table(found), _cost_table(found)],
        notes=["The tagger from the right is one from the left that reads mirrored sentences."],
        data=found,
    )


def depth(plan: Plan, material: Material) -> Page:
    """Compare one, two and three layers, and a dense layer on top."""
    base = material.network
    configs = {f"{n} recurrent": replace(base, layers=n) for n in (1, 2, 3)}
    configs["1 recurrent, 1 dense"] = replace(base, dense_widths=(base.hidden_width,))
    found = try_variants(material, configs, plan)
    first = "1 recurrent"
    best = max(found, key=lambda name: found[name].whole.mean)
    slowest = max(found, key=lambda name: found[name].seconds.mean)
    ratio = found[slowest].seconds.mean / found[first].seconds.mean
    deep = found["3 recurrent"].gradients
    pairs = zip(deep["recurrent 1"].values, deep["recurrent 3"].values, strict=True)
    share = Measured(tuple(first / last for first, last in pairs))
    return Page(
        name="depth",
        title="Depth: layers upon layers",
        about=(
            "Taggers of one to three recurrent layers that read both ways, and of one with a "
            f"dense layer on top. {material.about()}"
        ),
        findings=[
            compared(found, best, first)
            if best != first
            else f"No deeper tagger is better than one layer: F1 {found[first].whole.percent()}.",
            f"“{slowest}” takes {ratio:.1f} times as long to train as one layer.",
            f"Of three layers, the first gets a gradient {share.number(2)} times as long as the "
            "last.",
        ],
        figures=[("F1, and the gradient of each layer", _draw_depth(found))],
        tables=[
            _cost_table(found),
            f1_table(found),
            Table(
                "The norm of the gradient of each layer's weights, mean of the updates",
                ["tagger", *_layer_names(found)],
                [
                    [
                        name,
                        *(
                            each.gradients[layer].number(2) if layer in each.gradients else ""
                            for layer in _layer_names(found)
                        ),
                    ]
                    for name, each in found.items()
                ],
            ),
        ],
        data=found,
    )


def cells(plan: Plan, material: Material) -> Page:
    """Compare all cells in one place of a tagger."""
    found = try_variants(
        material, {cell: replace(material.network, cell=cell) for cell in CELLS}, plan
    )
    best = max(found, key=lambda name: found[name].whole.mean)
    level = [name for name in found if not differs(found[name].whole, found[best].whole)]
    fewer = 1 - found["gru"].n_parameters / found["lstm"].n_parameters
    return Page(
        name="cells",
        title="Cells: all of them on one task",
        about=f"Taggers of one layer that reads both ways, of each cell. {material.about()}",
        findings=[
            compared(found, "gru", "lstm") + f" The GRU has {fewer:.0%} fewer parameters, and "
            f"takes {found['gru'].seconds.mean / found['lstm'].seconds.mean:.2f} times as long.",
            f"The highest F1 is that of {best}, {found[best].whole.percent()}; "
            + (
                f"{words_of(level)} cannot be told apart."
                if len(level) > 1
                else "every other cell is worse."
            ),
        ],
        figures=[("F1 of each cell, and the seconds of training", _draw_cells(found))],
        tables=[_cost_table(found), f1_table(found)],
        notes=[
            "lstm, gru and rnn run in torch's own kernels, the others as equations in Python: "
            "their times say nothing of the cells themselves."
        ],
        data=found,
    )


def _layer_names(found: Mapping[str, Variant]) -> list[str]:
    names = dict.fromkeys(layer for each in found.values() for layer in each.gradients)
    order = ("recurrent", "dense", "emission")
    return sorted(names, key=lambda name: order.index(name.split()[0]))


def _draw_kinds(found: Mapping[str, Variant]) -> "Figure":
    figure = new_figure(7, 2.8)
    axes = figure.subplots()
    kinds = list(dict.fromkeys(kind for each in found.values() for kind in each.f1))
    groups = {name: [each.f1.get(kind) for kind in kinds] for name, each in found.items()}
    draw_bars(axes, kinds, groups)
    finish(axes, "", "F1, %", legend=False)
    return figure


def _draw_depth(found: Mapping[str, Variant]) -> "Figure":
    figure = new_figure(7, 2.8)
    f1, gradient = figure.subplots(1, 2)
    names = [name.replace("recurrent", "rec.") for name in found]
    draw_bars(f1, names, {"": [each.whole for each in found.values()]})
    f1.tick_params(axis="x", rotation=40, labelsize=8)
    finish(f1, "", "F1, %", legend=False)
    for number, each in enumerate(found.values()):
        norms = [*each.gradients.values()]
        draw_measured(gradient, range(1, len(norms) + 1), norms, names[number], number)
    gradient.set_yscale("log")
    gradient.set_xticks(range(1, 5))
    finish(gradient, "layer, the emissions last", "norm of the gradient")
    return figure


def _draw_cells(found: Mapping[str, Variant]) -> "Figure":
    figure = new_figure(7, 2.8)
    f1, seconds = figure.subplots(1, 2)
    draw_bars(f1, [*found], {"": [each.whole for each in found.values()]})
    finish(f1, "", "F1, %", legend=False)
    draw_bars(seconds, [*found], {"": [each.seconds for each in found.values()]}, share=False)
    finish(seconds, "", "seconds of training", legend=False)
    for axes in (f1, seconds):
        axes.tick_params(axis="x", rotation=40, labelsize=8)
    return figure
