"""A pencil for ONNX graphs: nodes one after another, each named by what it gives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
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

OPSET = 18
"""The operators of onnx 1.13 (2022): old enough for the runtimes of other languages, and it has
LayerNormalization."""
_IR_VERSION = 8
"""The file format of the same release."""

Array = NDArray[Any]
Shape = Sequence[int | str | None]
"""The sizes of a tensor's axes; a name stands for one that is known only when the graph runs."""


class Graph:
    """A graph that is being drawn. A value is known by its name, as ONNX has it."""

    def __init__(self, outer: "Graph | None" = None) -> None:
        self._nodes: list[NodeProto] = []
        # A loop's body sees the constants around it, and all names are different everywhere.
        self._constants: list[TensorProto] = [] if outer is None else outer._constants
        self._names: list[str] = [] if outer is None else outer._names

    def body(self) -> "Graph":
        """Return an empty graph for the body of a loop in this one."""
        return Graph(outer=self)

    def constant(self, values: Array, name: str | None = None) -> str:
        """Return a tensor that is part of the graph.

        Halves are stored as such and computed with in 32 bits.
        """
        chosen = self._name(name or "constant")
        self._constants.append(numpy_helper.from_array(np.asarray(values, order="C"), chosen))
        return self.cast(chosen, TensorProto.FLOAT) if values.dtype == np.float16 else chosen

    def integers(self, *values: int) -> str:
        """Return a list of whole numbers, such as axes or a shape."""
        return self.constant(np.array(values, dtype=np.int64))

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node of one output, and return its name; an input that is "" is left out."""
        return self.add_many(operator, *inputs, names=[name or operator.lower()], **attributes)[0]

    def add_many(
        self, operator: str, *inputs: str, names: Sequence[str], **attributes: Any
    ) -> list[str]:
        """Add a node of several outputs, and return their names."""
        outputs = [self._name(each) for each in names]
        self._nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs

    def cast(self, value: str, to: int) -> str:
        """Return the same values in another type."""
        return self.add("Cast", value, to=to)

    def transpose(self, value: str, *order: int, name: str | None = None) -> str:
        """Return the same values with their axes in another order."""
        return self.add("Transpose", value, perm=list(order), name=name)

    def scan(
        self,
        body: GraphProto,
        states: Sequence[str],
        inputs: Sequence[str],
        *,
        backwards: bool = False,
    ) -> list[str]:
        """Add a loop over the first axis of all `inputs`, which carries `states`.

        Gives the last states, and then what the steps gave beside them, stacked. `backwards` begins
        at the end; what is stacked is in the order of the inputs all the same.
        """
        n_stacked = len(body.output) - len(states)
        directions = {"scan_output_directions": [int(backwards)] * n_stacked} if n_stacked else {}
        return self.add_many(
            "Scan",
            *states,
            *inputs,
            names=[f"{body.name}.{each.name}" for each in body.output],
            body=body,
            num_scan_inputs=len(inputs),
            scan_input_directions=[int(backwards)] * len(inputs),
            **directions,
        )

    def as_body(
        self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> GraphProto:
        """Return the finished body of a loop."""
        return helper.make_graph(self._nodes, name, inputs, outputs)

    def as_model(
        self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> ModelProto:
        """Return the finished graph."""
        graph = helper.make_graph(self._nodes, name, inputs, outputs, initializer=self._constants)
        return helper.make_model(
            graph,
            producer_name="teddy",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )

    def _name(self, wanted: str) -> str:
        """Return a free name: the one wanted, or with a number after it."""
        chosen = wanted if wanted not in self._names else f"{wanted}_{len(self._names)}"
        self._names.append(chosen)
        return chosen
