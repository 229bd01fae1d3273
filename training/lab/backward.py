"""The experiment `backward`: what autograd does in an LSTM and a GRU, as plain arithmetic.

d NAME is the derivative of the loss by NAME; ' marks the new value, s is the logistic sigmoid, * is
the element-wise product and A^T y the product with the transposed matrix. A state's derivative is
the sum of what comes from the loss itself and of what comes back from the next step.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from teddy.training.lab.page import SEEDS, Measured, Page, Plan, SizeName, Table, finish
from teddy.training.report.figures import BLUE, GREEN, ORANGE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Name = Literal["lstm", "gru"]
Values = dict[str, Tensor]
_SIZES: dict[SizeName, tuple[int, int]] = {"tiny": (5, 4), "quick": (30, 16), "full": (60, 32)}
"""Words and width."""
_ROWS = 8
EQUATIONS: dict[Name, dict[str, str]] = {
    "lstm": {
        "h'": "d h' = d loss / d h' + (U^T d a of the next step)",
        "c'": "d c' = d h' * o * (1 - tanh(c')^2) + (d c' * f of the next step)",
        "o": "d o = d h' * tanh(c')",
        "i": "d i = d c' * g",
        "f": "d f = d c' * c",
        "g": "d g = d c' * i",
        "a": "d a = d i * i * (1 - i),  d f * f * (1 - f),  d g * (1 - g^2),  d o * o * (1 - o)",
    },
    "gru": {
        "h'": "d h' = d loss / d h' + (d h' * z + U^T (d a_r, d a_z, d q) of the next step)",
        "n": "d n = d h' * (1 - z)",
        "z": "d z = d h' * (h - n)",
        "q": "d q = d n * (1 - n^2) * r,  where q = U_n h + b",
        "r": "d r = d n * (1 - n^2) * q",
        "a_rz": "d a_r = d r * r * (1 - r),  d a_z = d z * z * (1 - z)",
        "a_n": "d a_n = d n * (1 - n^2)",
    },
}
_TOTALS = {
    "x": "d x = W^T d a",
    "W": "d W = sum of d a x^T",
    "U": "d U = sum of d a h^T (of a GRU's third part, d q h^T)",
    "b": "d b = sum of d a",
}


def backward(plan: Plan) -> Page:
    """Compare the equations with autograd, and follow the gradient along its paths."""
    n_words, width = _SIZES[plan.size]
    names: tuple[Name, ...] = ("lstm", "gru")
    gaps: dict[str, dict[str, float]] = {}
    flows: dict[str, list[dict[str, list[float]]]] = {}
    for name in names:
        plan.say(f"{name}: {n_words} words, width {width}")
        runs = [compare(name, seed, n_words, width) for seed in SEEDS]
        gaps[name] = {term: max(run[term] for run in runs) for term in runs[0]}
        flows[name] = [flow(name, seed, n_words, width) for seed in SEEDS]
    findings = [
        f"{name}: no term of the equations differs from autograd by more than "
        f"{max(gaps[name].values()):.1e}, in {len(SEEDS)} random layers and all {n_words} steps."
        for name in names
    ]
    for name in names:
        middle = n_words // 2
        shares = Measured(
            tuple(
                each["kept"][middle] / max(each["through U"][middle], 1e-300)
                for each in flows[name]
            )
        )
        gate = "f * d c'" if name == "lstm" else "z * d h'"
        findings.append(
            f"{name}: {n_words - 1 - middle} words before the loss, what {gate} hands back is "
            f"{shares.number(2)} times as long as what comes back through U."
        )
    return Page(
        name="backward",
        title="Backward: the LSTM's and the GRU's equations beside autograd",
        about=(
            "The derivatives of a loss by every value of torch's LSTM and GRU, written out as "
            f"sums and products in float64, and compared with what autograd finds: {n_words} "
            f"words, width {width}, random weights, a loss at every word. Then the flow: a loss "
            "at the last word only, and how much of it comes back along which path."
        ),
        findings=findings,
        figures=[("How long the gradient is, by the words back from the loss", _draw(flows))],
        tables=[
            Table(
                f"{name}: each term, and its largest difference from autograd's",
                ["equation", "difference"],
                [
                    [(EQUATIONS[name] | _TOTALS)[term], f"{gap:.1e}"]
                    for term, gap in gaps[name].items()
                ],
            )
            for name in names
        ],
        data={"differences": gaps, "flows": flows},
    )


def compare(name: Name, seed: int, n_words: int, width: int) -> dict[str, float]:
    """Return how far the derivative of each term is from autograd's at most."""
    layer, x = _layer(name, seed, n_words, width)
    outer = torch.randn(n_words, _ROWS, width, dtype=torch.float64)
    x.requires_grad_()
    loss = (layer(x)[0] * outer).sum()
    weights: Sequence[Tensor] = layer.all_weights[0]
    expected = dict(
        zip(("x", "W", "U", "b"), torch.autograd.grad(loss, (x, *weights[:3])), strict=True)
    )
    steps = _FORWARD[name](weights, x)
    outputs = torch.stack([step["h'"] for step in steps])
    terms = [*EQUATIONS[name]]
    found = torch.autograd.grad(
        (outputs * outer).sum(), [step[term] for term in terms for step in steps]
    )
    for place, term in enumerate(terms):
        expected[term] = torch.stack(found[place * n_words : (place + 1) * n_words])
    with torch.no_grad():
        ours = _BACKWARD[name](weights, x, steps, outer)
    return {term: (ours[term] - expected[term]).abs().max().item() for term in (*terms, *_TOTALS)}


def flow(name: Name, seed: int, n_words: int, width: int) -> dict[str, list[float]]:
    """Return how long the gradient is at each word, and what comes to it along each path."""
    layer, x = _layer(name, seed, n_words, width)
    outer = torch.zeros(n_words, _ROWS, width, dtype=torch.float64)
    outer[-1] = torch.randn(_ROWS, width, dtype=torch.float64)
    weights: Sequence[Tensor] = layer.all_weights[0]
    with torch.no_grad():
        found = _BACKWARD[name](weights, x, _FORWARD[name](weights, x), outer)
    names = {"whole": "c'" if name == "lstm" else "h'", "kept": "kept", "through U": "through U"}
    return {each: found[term].norm(dim=2).mean(dim=1).tolist() for each, term in names.items()}


def _layer(name: Name, seed: int, n_words: int, width: int) -> tuple[nn.RNNBase, Tensor]:
    torch.manual_seed(seed)
    kind = {"lstm": nn.LSTM, "gru": nn.GRU}[name]
    layer: nn.RNNBase = kind(width, width).double()
    return layer, torch.randn(n_words, _ROWS, width, dtype=torch.float64)


def _lstm_forward(weights: Sequence[Tensor], x: Tensor) -> list[Values]:
    w, u, b, also_b = weights
    hidden = cell = x.new_zeros(x.shape[1], u.shape[1])
    steps: list[Values] = []
    for word in x:
        step = {"h": hidden, "c": cell, "a": word @ w.T + b + hidden @ u.T + also_b}
        i, f, g, o = step["a"].chunk(4, dim=1)
        step |= {"i": i.sigmoid(), "f": f.sigmoid(), "g": g.tanh(), "o": o.sigmoid()}
        step["c'"] = cell = step["f"] * cell + step["i"] * step["g"]
        step["h'"] = hidden = step["o"] * cell.tanh()
        steps.append(step)
    return steps


def _lstm_backward(
    weights: Sequence[Tensor], x: Tensor, steps: Sequence[Values], outer: Tensor
) -> Values:
    u = weights[1]
    back_h = back_c = torch.zeros_like(outer[0])
    found: list[Values] = []
    for step, from_loss in zip(reversed(steps), reversed(outer.unbind()), strict=True):
        i, f, g, o, tanh = *(step[name] for name in "ifgo"), step["c'"].tanh()
        d = {"through U": back_h, "kept": back_c, "h'": from_loss + back_h}
        d["c'"] = d["h'"] * o * (1 - tanh * tanh) + back_c
        d |= {"o": d["h'"] * tanh, "i": d["c'"] * g, "f": d["c'"] * step["c"], "g": d["c'"] * i}
        parts = (
            d["i"] * i * (1 - i),
            d["f"] * f * (1 - f),
            d["g"] * (1 - g * g),
            d["o"] * o * (1 - o),
        )
        d["a"] = torch.cat(parts, dim=1)
        d["from hidden"] = d["a"]
        back_h, back_c = d["a"] @ u, d["c'"] * f
        found.append(d)
    return _totals(weights, x, steps, found)


def _gru_forward(weights: Sequence[Tensor], x: Tensor) -> list[Values]:
    w, u, b, also_b = weights
    width = u.shape[1]
    hidden = x.new_zeros(x.shape[1], width)
    steps: list[Values] = []
    for word in x:
        from_hidden = hidden @ u.T + also_b
        step = {"h": hidden, "q": from_hidden[:, 2 * width :]}
        # q goes into a_n by way of r * q: it has a derivative of its own
        step["a_rz"] = word @ w[: 2 * width].T + b[: 2 * width] + from_hidden[:, : 2 * width]
        step["r"], step["z"] = step["a_rz"].sigmoid().chunk(2, dim=1)
        step["a_n"] = word @ w[2 * width :].T + b[2 * width :] + step["r"] * step["q"]
        step["n"] = step["a_n"].tanh()
        step["h'"] = hidden = (1 - step["z"]) * step["n"] + step["z"] * hidden
        steps.append(step)
    return steps


def _gru_backward(
    weights: Sequence[Tensor], x: Tensor, steps: Sequence[Values], outer: Tensor
) -> Values:
    u = weights[1]
    kept = through_u = torch.zeros_like(outer[0])
    found: list[Values] = []
    for step, from_loss in zip(reversed(steps), reversed(outer.unbind()), strict=True):
        h, q, r, z, n = (step[name] for name in "hqrzn")
        d = {"through U": through_u, "kept": kept, "h'": from_loss + kept + through_u}
        d |= {"n": d["h'"] * (1 - z), "z": d["h'"] * (h - n)}
        d["a_n"] = d["n"] * (1 - n * n)
        d |= {"q": d["a_n"] * r, "r": d["a_n"] * q}
        d["a_rz"] = torch.cat((d["r"] * r * (1 - r), d["z"] * z * (1 - z)), dim=1)
        d["a"] = torch.cat((d["a_rz"], d["a_n"]), dim=1)
        d["from hidden"] = torch.cat((d["a_rz"], d["q"]), dim=1)
        kept, through_u = d["h'"] * z, d["from hidden"] @ u
        found.append(d)
    return _totals(weights, x, steps, found)


def _totals(
    weights: Sequence[Tensor], x: Tensor, steps: Sequence[Values], found: Sequence[Values]
) -> Values:
    """Put the steps, which came last first, in order, and add up what all of them share."""
    ours = {name: torch.stack([each[name] for each in reversed(found)]) for name in found[0]}
    before = torch.stack([step["h"] for step in steps])
    a, from_hidden = ours["a"].flatten(0, 1), ours["from hidden"].flatten(0, 1)
    return ours | {
        "x": ours["a"] @ weights[0],
        "W": a.T @ x.flatten(0, 1),
        "U": from_hidden.T @ before.flatten(0, 1),
        "b": a.sum(dim=0),
    }


_FORWARD = {"lstm": _lstm_forward, "gru": _gru_forward}
_BACKWARD = {"lstm": _lstm_backward, "gru": _gru_backward}


def _draw(flows: dict[str, list[dict[str, list[float]]]]) -> "Figure":
    figure = new_figure(7, 2.8)
    labels = {
        "lstm": {"whole": "d c'", "kept": "f * d c'", "through U": "U^T d a"},
        "gru": {"whole": "d h'", "kept": "z * d h'", "through U": "U^T d a"},
    }
    for axes, (name, runs) in zip(figure.subplots(1, 2, sharey=True), flows.items(), strict=True):
        for path, colour in (("whole", BLUE), ("kept", GREEN), ("through U", ORANGE)):
            means = [
                sum(place) / len(runs) for place in zip(*(run[path] for run in runs), strict=True)
            ]
            # nothing comes back to the last word
            shown = [each or float("nan") for each in means]
            axes.plot(range(len(means) - 1, -1, -1), shown, color=colour, label=labels[name][path])
        axes.set_yscale("log")
        finish(axes, "words back from the loss", "norm" if name == "lstm" else "", name)
    return figure
