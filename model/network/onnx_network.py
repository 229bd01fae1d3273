"""ONNX Runtime as the engine under a tagger, called as `TaggerNetwork` is; in 32 or 8 bits.

In 8 bits each column of the weights has its own scale; the inputs have one for the whole batch, so
that results depend on it. Only ONNX Runtime runs what this makes: its operators are not of the ONNX
standard.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)
from torch import Tensor

from teddy.model.network.crf import ConditionalRandomField

VECTORS = "vectors"
"""The value between the two parts of the graph: the vectors of distinct words."""

_DOMAIN = "com.microsoft"
_DECODED = ("tags", "marginal", "opening", "closing")


def _values_of(kind: int) -> Callable[..., ValueInfoProto]:
    """Return a function of the name and the shape of an input or output of this type."""
    return lambda name, *shape: helper.make_tensor_value_info(name, kind, shape)


floats, doubles = _values_of(TensorProto.FLOAT), _values_of(TensorProto.DOUBLE)
wholes, truths = _values_of(TensorProto.INT64), _values_of(TensorProto.BOOL)


def word_inputs() -> list[ValueInfoProto]:
    """Return the inputs of a batch: see `teddy.model.features.batching`."""
    return [wholes("rows", "F"), wholes("starts", "U")]


def vectors_output(width: int) -> ValueInfoProto:
    """Return the vectors of distinct words as an output."""
    return floats(VECTORS, "U", width)


def network_inputs(width: int) -> list[ValueInfoProto]:
    """Return the inputs of the network after the words' vectors."""
    return [vectors_output(width), wholes("words", "B", "T"), wholes("lengths", "B")]


def decoded_outputs() -> list[ValueInfoProto]:
    """Return the outputs of `Network.forward`, in its order."""
    return [
        wholes(_DECODED[0], "B", "T"),
        *(doubles(name, "B", "T") for name in _DECODED[1:]),
    ]


def emissions_output(n_tags: int) -> ValueInfoProto:
    """Return the score of each tag at each word as an output."""
    return floats("emissions", "B", "T", n_tags)


def part_of(
    model: ModelProto, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
) -> ModelProto:
    """Return the part of a graph between `inputs`, any of its values, and `outputs`.

    The weights are shared, not copied. (onnx.utils.Extractor does not follow what the body of a
    loop reads, and wants the type of every value in between; onnx 1.23.)

    Raises ValueError where the graph lacks an output, or where one needs an input of the graph that
    is not given.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    constants = {each.name: each for each in model.graph.initializer}
    found = {each.name for each in inputs}
    wanted = [each.name for each in outputs]
    nodes: set[int] = set()
    kept: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        if name in constants:
            kept.add(name)
        elif name in makers:
            nodes.add(id(makers[name]))
            wanted += _reads(makers[name])
        else:
            raise ValueError(f"the graph has no value {name!r} to compute from what is given")
    graph = helper.make_graph(
        [node for node in model.graph.node if id(node) in nodes],
        model.graph.name,
        inputs,
        outputs,
        initializer=[constants[name] for name in kept],
    )
    return helper.make_model(graph, ir_version=model.ir_version, opset_imports=model.opset_import)


def _reads(node: NodeProto) -> list[str]:
    """Return the values that a node needs, those in the body of a loop included."""
    bodies: list[GraphProto] = [
        attribute.g for attribute in node.attribute if attribute.HasField("g")
    ]
    inner = [name for body in bodies for each in body.node for name in _reads(each)]
    made = {name for body in bodies for each in body.node for name in each.output}
    made |= {each.name for body in bodies for each in body.input}
    return [name for name in (*node.input, *inner) if name and name not in made]


def largest_weight() -> int:
    """Return the largest 8-bit weight: 127, or 63 on a processor that adds products in 16 bits.

    Two products of 8 bits do not fit in 16. Without instructions for that (VNNI) ONNX Runtime cuts
    off what is too large, and emissions were wrong by as much as two thirds of their standard
    deviation.
    """
    return 127 if torch.cpu._is_vnni_supported() else 63


def quantise(model: ModelProto) -> ModelProto:
    """Return a copy whose LSTM layers have weights of 8 bits, or 7: see `largest_weight`.

    Raises ValueError when there is none: ONNX Runtime has no such GRU, and the other layers are too
    small to gain.
    """
    constants = {each.name: each for each in model.graph.initializer}
    casts = {each.output[0]: each.input[0] for each in model.graph.node if each.op_type == "Cast"}
    quantised = ModelProto()
    quantised.CopyFrom(model)
    del quantised.graph.node[:]
    added: list[TensorProto] = []
    for node in model.graph.node:
        if node.op_type != "LSTM" or "input_forget" in [each.name for each in node.attribute]:
            quantised.graph.node.append(node)
            continue
        weights = {
            name: numpy_helper.to_array(constants[casts.get(name, name)])
            for name in node.input[1:3]
        }
        quantised.graph.node.append(_quantised_layer(node, weights, added))
    if not added:
        raise ValueError("int8 is for LSTM layers, and the network has none")
    quantised.graph.initializer.extend(added)
    quantised.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return quantised


def _quantised_layer(
    node: NodeProto, weights: Mapping[str, NDArray[np.floating]], added: list[TensorProto]
) -> NodeProto:
    names: list[str] = []
    scales: list[str] = []
    for name, values in weights.items():
        # [directions, 4 H, width] -> [directions, width, 4 H], and a scale for each of the 4 H
        columns = values.astype(np.float32).transpose(0, 2, 1)
        scale = np.maximum(np.abs(columns).max(axis=1), 1e-12) / largest_weight()
        rounded = np.rint(columns / scale[:, None, :]).astype(np.int8)
        for kind, array in (
            ("int8", rounded),
            ("scale", scale),
            ("zero", np.zeros_like(scale, dtype=np.int8)),
        ):
            added.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{name}.{kind}"))
        names.append(f"{name}.int8")
        scales += [f"{name}.scale", f"{name}.zero"]
    rest = [*node.input[3:], *[""] * (8 - len(node.input))]
    made = helper.make_node(
        "DynamicQuantizeLSTM", [node.input[0], *names, *rest, *scales], node.output, domain=_DOMAIN
    )
    made.attribute.extend(node.attribute)
    return made


class OnnxNetwork:
    """A tagger's ONNX graph in two parts, of which the first runs once for each distinct word.

    Safe to use from several threads.
    """

    def __init__(self, content: bytes, precision: str, n_tags: int) -> None:
        """`content` is an ONNX file whose digest was checked; `precision` is `fp32` or `int8`.

        Raises ValueError when the graph is not one of ours, or has another number of tags.
        """
        model = onnx.load_model_from_string(content)
        self._width = width = _last_size(model, "embedding")
        found = _last_size(model, "emission.weight")
        if found != n_tags:
            raise ValueError(f"the network has {found} tags, the manifest's labels make {n_tags}")
        if precision == "int8":
            model = quantise(model)
        self._words = _Part(part_of(model, word_inputs(), [vectors_output(width)]))
        outputs = [*decoded_outputs(), emissions_output(n_tags)]
        self._tagger = _Part(part_of(model, network_inputs(width), outputs))
        self.crf = _field_of(model, n_tags)
        """The field that is drawn in the graph."""

    def word_vectors(self, rows: Tensor, starts: Tensor) -> Tensor:
        """See `Network.word_vectors`. Shape: int64 [F], [U] -> float32 [U, E]."""
        if not len(starts):
            return torch.empty(0, self._width)
        (vectors,) = self._words.run(rows, starts)
        return vectors

    def __call__(
        self, vectors: Tensor, words: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Network.forward`. Shape: float32 [U, E], int64 [B, T], [B] -> [B, T] each."""
        tags, marginal, opening, closing = self._tagger.run(
            vectors, words, lengths, outputs=_DECODED
        )
        return tags, marginal, opening, closing

    def _emissions(self, vectors: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """See `Network.emissions`. Shape: as above -> float32 [B, T, K]."""
        (emissions,) = self._tagger.run(vectors, words, lengths, outputs=("emissions",))
        return emissions


class _Part:
    """A graph made ready to run, on as many threads as torch has."""

    def __init__(self, model: ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # ONNX Runtime's own pool of memory and its plan for each shape are no faster here, and they
        # grow: over 300 shapes of batches a process grew by 8 MB (fp32) and 11 MB (int8) with both,
        # and by none without.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        # What goes wrong is raised; it need not be printed too.
        options.log_severity_level = 4
        self._names = [each.name for each in model.graph.input]
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common root of their own
            raise ValueError(f"ONNX Runtime refuses the graph: {error}") from error

    def run(self, *inputs: Tensor, outputs: Sequence[str] | None = None) -> tuple[Tensor, ...]:
        """Return these outputs, or all in the order of the graph. Raises RuntimeError."""
        values = {name: each.numpy() for name, each in zip(self._names, inputs, strict=True)}
        try:
            return tuple(map(torch.from_numpy, self._session.run(outputs, values)))
        except Exception as error:  # as above
            raise RuntimeError(f"ONNX Runtime failed: {error}") from error


def _field_of(model: ModelProto, n_tags: int) -> ConditionalRandomField:
    """Return the field that a graph's constants are of, of which each has a form of its own."""
    found = {
        tuple(each.dims): torch.from_numpy(numpy_helper.to_array(each).copy())
        for each in reversed(model.graph.initializer)
        if each.data_type == TensorProto.DOUBLE
    }
    # The first tags' scores are the last row. Of the numbers, the first is 1 / temperature.
    steps, last, cooling = (found[form] for form in ((n_tags + 1, n_tags), (n_tags,), ()))
    scores = (steps[:-1], steps[-1], last)
    field = ConditionalRandomField(*(each.isfinite().tolist() for each in scores)).double()
    with torch.no_grad():
        for parameter, each in zip(
            (field.transition, field.first, field.last), scores, strict=True
        ):
            parameter.copy_(each.nan_to_num(neginf=0.0))
        field.temperature.copy_(1.0 / cooling)
    return field.requires_grad_(False)


def _last_size(model: ModelProto, constant: str) -> int:
    for each in model.graph.initializer:
        if each.name == constant:
            return int(each.dims[-1])
    raise ValueError(f"the graph has no {constant}")
