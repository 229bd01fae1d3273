"""One part of an ONNX graph as a model of its own: from some of its values to some others."""

from collections.abc import Sequence

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper


def part_of(model: ModelProto, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> ModelProto:
    """What is computed between `inputs`, any values of the graph, and `outputs`. The weights are shared, not copied.

    Raises ValueError where the graph lacks an output, or where one needs an input of the graph that is not given.
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
    """The values that a node needs, those that only the body of a loop names included."""
    bodies: list[GraphProto] = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    inner = [name for body in bodies for each in body.node for name in _reads(each)]
    made = {name for body in bodies for each in body.node for name in each.output}
    made |= {each.name for body in bodies for each in body.input}
    return [name for name in (*node.input, *inner) if name and name not in made]
