"""Dynamic quantisation of LSTM layers to 8 bits: their weights once, and their inputs anew at every call.

Each column of the weights has its own scale; the inputs have one for the whole batch, so that results depend on it.
Only ONNX Runtime runs what this makes: its operators are not of the ONNX standard.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

_DOMAIN = "com.microsoft"


def largest_weight() -> int:
    """The largest whole number that a weight becomes: 127, or 63 on a processor that adds products in 16 bits.

    Two products of 8 bits do not fit in 16. Without instructions for that (VNNI) ONNX Runtime cuts off what is too
    large, and emissions were wrong by as much as two thirds of their standard deviation.
    """
    return 127 if torch.cpu._is_vnni_supported() else 63


def quantise(model: ModelProto) -> ModelProto:
    """A copy in which every LSTM layer has weights of 8 bits, or of 7: see `largest_weight`.

    Raises ValueError when there is none: ONNX Runtime has no such GRU, and the other layers are too small to gain.
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
        weights = {name: numpy_helper.to_array(constants[casts.get(name, name)]) for name in node.input[1:3]}
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
        for kind, array in (("int8", rounded), ("scale", scale), ("zero", np.zeros_like(scale, dtype=np.int8))):
            added.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{name}.{kind}"))
        names.append(f"{name}.int8")
        scales += [f"{name}.scale", f"{name}.zero"]
    rest = [*node.input[3:], *[""] * (8 - len(node.input))]
    made = helper.make_node("DynamicQuantizeLSTM", [node.input[0], *names, *rest, *scales], node.output, domain=_DOMAIN)
    made.attribute.extend(node.attribute)
    return made
