"""The whole ONNX graph of a tagger: feature rows in, tags and their probabilities out.

The conditional random field is drawn in float64 and by the steps of `teddy.model.network.crf`, so
that the same emissions give the same tags. Time comes first. Letters: B rows (sentences), T words
of the longest, K tags.

TorchScript is deprecated upstream, and its users need torch. A graph of ONNX runs in a dozen
languages, and gives tags: the recurrent stack and the CRF are both in it. It wants the extra
`teddy[onnx]`; only `teddy.model.file.onnx_archive`, which reads what a file says of itself, does
without.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto

from teddy.model.config import NetworkConfig
from teddy.model.file.bundle import Bundle, extra_files
from teddy.model.file.onnx_archive import seal
from teddy.model.network.onnx_network import (
    VECTORS,
    decoded_outputs,
    doubles,
    emissions_output,
    wholes,
    word_inputs,
)
from teddy.model.network.torchscript import from_archive
from teddy.training.export.onnx_graph import Graph
from teddy.training.export.onnx_layers import Weights, emissions, word_vectors

_FLOOR = 1e-300
"""Of a word's total weight, so that a row whose words are over stays finite over its padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """The scores of a path's tags beside the emissions, float64, -inf where forbidden.

    Shape: `transition` [K, K], the earlier tag first; `first` [K], `last` [K]. `cooling` is 1 /
    temperature.
    """

    transition: NDArray[np.float64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    cooling: float

    @property
    def n_tags(self) -> int:
        """K."""
        return len(self.first)


def field_of(weights: Weights) -> Field:
    """Return what `ConditionalRandomField.potentials` gives of these weights."""
    transition, first, last = (
        np.where(
            weights[f"crf.{name}_forbidden"], -np.inf, weights[f"crf.{name}"].astype(np.float64)
        )
        for name in ("transition", "first", "last")
    )
    cooling = 1.0 / float(weights["crf.temperature"])
    return Field(transition=transition, first=first, last=last, cooling=cooling)


def decode(graph: Graph, emissions: str, lengths: str, field: Field) -> tuple[str, str, str, str]:
    """Return tags (int64), and marginal, opening and closing (float64), as the CRF's `posterior`.

    Shape: float32 [T, B, K], int64 [B] -> [T, B] each.
    """
    emissions = graph.cast(emissions, TensorProto.DOUBLE)
    relative = _relative(graph, emissions, field)
    forward, pair = graph.add("Exp", relative), graph.integers(1)
    weights = [
        graph.add("Unsqueeze", each, pair) for each in (forward, _reversed(graph, forward, lengths))
    ]
    weight = graph.add("Concat", *weights, axis=1)
    shape = graph.add("Shape", emissions)
    row_shape = graph.add("Slice", shape, graph.integers(1), graph.integers(3))
    ends = np.exp(np.stack((field.first, field.last)) * field.cooling)[:, None]
    best, begun = (
        graph.add("Expand", graph.constant(each), row_shape) for each in (field.last, ends)
    )
    transition = np.exp(field.transition * field.cooling)
    matrices = graph.constant(np.stack((transition, transition.T)))
    *_, scores, states = graph.scan(
        _read(graph.body(), field, matrices),
        [best, begun],
        [_reversed(graph, emissions, lengths), weight],
    )
    # What came in at each word, and its divisor there, is computed again, all at once: a step of a
    # loop is dear.
    leaving = graph.add("MatMul", states, matrices)
    first = graph.add("Unsqueeze", begun, graph.integers(0))
    arriving = graph.add("Concat", first, leaving, axis=0)
    arriving = graph.add("Slice", arriving, graph.integers(0), graph.integers(-1))
    weighed = graph.add("Mul", arriving, weight)
    total = graph.add("ReduceSum", weighed, graph.integers(3), keepdims=0)
    log_scales = graph.add("Log", graph.add("Max", total, graph.constant(np.array(_FLOOR))))
    tags = _best_path(graph, _reversed(graph, scores, lengths), lengths, field)
    sums = _Sums(relative, states, arriving, log_scales)
    return tags, *_posterior(graph, sums, tags, lengths, field)


@dataclass(frozen=True, slots=True)
class _Sums:
    """The loop: [T, B, K], [T, 2, B, K] twice, [T, 2, B]; the second reads backwards."""

    relative: str
    states: str
    arriving: str
    log_scales: str


def _read(body: Graph, field: Field, matrices: str) -> GraphProto:
    """Add one step of the best path, from the last word on, and of both sums.

    They share one loop: a step of it costs more for being a step than for what it computes.
    """
    n_tags = field.n_tags
    score = body.add("Add", "best_onwards", "emission")
    before = body.add("Unsqueeze", score, body.integers(1))
    steps = body.add("Add", before, body.constant(field.transition))
    best = body.add("ReduceMax", steps, body.integers(2), keepdims=0)
    weighed = body.add("Mul", "incoming", "weight")
    state = body.add("LpNormalization", weighed, axis=2, p=1)
    leaving = body.add("MatMul", state, matrices)
    return body.as_body(
        "read",
        [
            doubles("best_onwards", "B", n_tags),
            doubles("incoming", 2, "B", n_tags),
            doubles("emission", "B", n_tags),
            doubles("weight", 2, "B", n_tags),
        ],
        [
            doubles(best, "B", n_tags),
            doubles(leaving, 2, "B", n_tags),
            doubles(score, "B", n_tags),
            doubles(state, 2, "B", n_tags),
        ],
    )


def _best_path(graph: Graph, scores: str, lengths: str, field: Field) -> str:
    """Return the tags of the highest score, 0 at padding.

    Shape: float64 [T, B, K], of the best way on from each tag at each word, that word included;
    int64 [B] -> [T, B].
    """
    # The tag "before" the first word has a number of its own, K, and its transitions are the scores
    # of first tags.
    before = graph.add("Mul", lengths, graph.integers(0))
    before = graph.add("Add", before, graph.integers(field.n_tags))
    _, tags = graph.scan(_follow(graph.body(), field), [before], [scores])
    inside = graph.add("Less", _positions(graph, scores), lengths)
    return graph.add("Where", inside, tags, graph.integers(0))


def _follow(body: Graph, field: Field) -> GraphProto:
    """Go from the tag of a word to the best one of the next."""
    transition = body.constant(np.concatenate((field.transition, field.first[None])))
    ways_on = body.add("Add", "score", body.add("Gather", transition, "before", axis=0))
    tag = body.add("ArgMax", ways_on, axis=1, keepdims=0)
    return body.as_body(
        "follow",
        [wholes("before", "B"), doubles("score", "B", field.n_tags)],
        [wholes(tag, "B"), wholes(body.add("Identity", tag), "B")],
    )


def _posterior(
    graph: Graph, sums: _Sums, tags: str, lengths: str, field: Field
) -> tuple[str, str, str]:
    """Return marginal, opening and closing of the tags. Shape: [T, B] each."""
    one, two = graph.integers(1), graph.integers(2)
    log_alpha_scale = graph.add("CumSum", _direction(graph, sums.log_scales, 0), graph.integers(0))
    # The scale up to and including a word is what alpha needs; beta stops before its word.
    backward = _direction(graph, sums.log_scales, 1)
    before = graph.add("CumSum", backward, graph.integers(0), exclusive=1)
    log_beta_scale = _reversed(graph, before, lengths)
    alpha = _direction(graph, sums.states, 0)
    beta = _reversed(graph, _direction(graph, sums.arriving, 1), lengths)
    both = graph.add("Mul", alpha, beta)
    mass = graph.add("ReduceSum", both, two, keepdims=0)
    tag = graph.add("Unsqueeze", tags, two)

    def of_tag(values: str) -> str:
        return graph.add("Squeeze", graph.add("GatherElements", values, tag, axis=2), two)

    marginal = graph.add("Div", of_tag(both), mass)
    path = graph.add("Add", of_tag(sums.relative), _steps(graph, tags, field))
    path = graph.add("CumSum", path, graph.integers(0))
    log_mass = graph.add("Add", graph.add("Log", mass), log_alpha_scale)
    log_mass = graph.add("Add", log_mass, log_beta_scale)
    last = graph.add("Unsqueeze", graph.add("Sub", lengths, one), graph.integers(0))
    log_partition = graph.add("GatherElements", log_mass, last, axis=0)
    opening = graph.add("Add", graph.add("Log", of_tag(alpha)), log_alpha_scale)
    closing = graph.add("Add", graph.add("Log", of_tag(beta)), log_beta_scale)
    closing = graph.add("Sub", graph.add("Add", closing, path), log_partition)
    return marginal, graph.add("Sub", opening, path), closing


def _steps(graph: Graph, tags: str, field: Field) -> str:
    """Return the cooled score of the transition into each word's tag, 0 at the first word.

    Shape: int64 [T, B] -> [T, B].
    """
    zero, one = graph.integers(0), graph.integers(1)
    first = graph.add("Slice", tags, zero, one)
    before = graph.add("Concat", first, graph.add("Slice", tags, zero, graph.integers(-1)), axis=0)
    pairs = graph.add("Add", graph.add("Mul", before, graph.integers(field.n_tags)), tags)
    cooled = graph.constant((field.transition * field.cooling).reshape(-1))
    found = graph.add("Gather", cooled, pairs)
    is_first = graph.add("Equal", _positions(graph, tags), zero)
    return graph.add("Where", is_first, graph.constant(np.zeros(())), found)


def _relative(graph: Graph, emissions: str, field: Field) -> str:
    """Return the cooled emissions, less the highest of each word."""
    cooled = graph.add("Mul", emissions, graph.constant(np.array(field.cooling)))
    return graph.add("Sub", cooled, graph.add("ReduceMax", cooled, graph.integers(2), keepdims=1))


def _reversed(graph: Graph, values: str, lengths: str) -> str:
    """Return each row's words in the other order, its padding where it was.

    Shape: [T, B, ...] -> [T, B, ...].
    """
    return graph.add("ReverseSequence", values, lengths, time_axis=0, batch_axis=1)


def _direction(graph: Graph, values: str, index: int) -> str:
    """Return one of the two recursions. Shape: [T, 2, ...] -> [T, ...]."""
    return graph.add("Gather", values, graph.constant(np.array(index)), axis=1)


def _positions(graph: Graph, values: str) -> str:
    """Return 0, 1, ... along the first axis. Shape: [T, ...] -> int64 [T, 1]."""
    zero, one = graph.constant(np.array(0)), graph.constant(np.array(1))
    length = graph.add("Gather", graph.add("Shape", values), zero)
    return graph.add("Unsqueeze", graph.add("Range", zero, length, one), graph.integers(1))


def build_model(config: NetworkConfig, weights: Weights) -> ModelProto:
    """Build the network of these weights, with the inputs and outputs of `Network` and one more.

    Inputs, int64: `rows` [F], `starts` [U], `words` [B, T], `lengths` [B], each at least 1: see
    `teddy.model.features.batching`. Outputs: `tags` int64, `marginal`, `opening` and `closing`
    float64, all [B, T]; `emissions` float32 [B, T, K]. `weights` are those of a state dict, in 32
    bits or, to be stored so, in 16.
    """
    graph = Graph()
    field = field_of(weights)
    summed = word_vectors(graph, "rows", "starts", weights, config)
    vectors = graph.add("Identity", summed, name=VECTORS)
    scores = emissions(graph, vectors, "words", "lengths", weights, config)
    outputs = decoded_outputs()
    for output, value in zip(outputs, decode(graph, scores, "lengths", field), strict=True):
        graph.transpose(value, 1, 0, name=output.name)
    graph.transpose(scores, 1, 0, 2, name="emissions")
    inputs = [*word_inputs(), wholes("words", "B", "T"), wholes("lengths", "B")]
    return graph.as_model("tagger", inputs, [*outputs, emissions_output(field.n_tags)])


def to_onnx(bundle: Bundle) -> bytes:
    """Return the ONNX file of a TorchScript model, of as many bits, and its metadata."""
    weights = {
        name: tensor.numpy() for name, tensor in from_archive(bundle.archive).state_dict().items()
    }
    # Equal models give equal files.
    manifest = replace(bundle.manifest, created="")
    graph = build_model(bundle.manifest.network, weights).SerializeToString()
    return seal(
        graph, extra_files(manifest, bundle.pieces, bundle.words, bundle.card, bundle.lexicon)
    )
