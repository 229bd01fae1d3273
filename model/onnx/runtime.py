"""ONNX Runtime as the engine under a tagger, called as `teddy.model.network.Network` is."""

import onnx
import onnxruntime
import torch
from onnx import ModelProto
from torch import Tensor

from teddy.model.onnx.build import decoded_outputs, network_inputs, vectors_output, word_inputs
from teddy.model.onnx.parts import part_of
from teddy.model.onnx.quantise import quantise


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
        self._tagger = _Part(part_of(model, network_inputs(width), decoded_outputs()))

    def word_vectors(self, rows: Tensor, starts: Tensor) -> Tensor:
        """See `Network.word_vectors`. Shape: int64 [F], [U] -> float32 [U, E]."""
        if not len(starts):
            return torch.empty(0, self._width)
        (vectors,) = self._words.run(rows, starts)
        return vectors

    def __call__(self, vectors: Tensor, words: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Network.forward`. Shape: float32 [U, E], int64 [B, T], [B] -> [B, T] each."""
        tags, marginal, opening, closing = self._tagger.run(vectors, words, lengths)
        return tags, marginal, opening, closing


class _Part:
    """A graph made ready to run, on as many threads as torch has."""

    def __init__(self, model: ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # ONNX Runtime's own pool of memory and its plan for each shape are no faster here, and they grow: over 300
        # shapes of batches a process grew by 8 MB (fp32) and 11 MB (int8) with both, and by none without.
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

    def run(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs in the order of the graph. Raises RuntimeError."""
        values = {name: each.numpy() for name, each in zip(self._names, inputs, strict=True)}
        try:
            return tuple(map(torch.from_numpy, self._session.run(None, values)))
        except Exception as error:  # as above
            raise RuntimeError(f"ONNX Runtime failed: {error}") from error


def _last_size(model: ModelProto, constant: str) -> int:
    for each in model.graph.initializer:
        if each.name == constant:
            return int(each.dims[-1])
    raise ValueError(f"the graph has no {constant}")
