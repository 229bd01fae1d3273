"""The number format that a loaded network runs in: the fastest that gives the canary's entities.

    fp32   always there; what the scores were measured with
    bf16   recurrent and dense layers in bfloat16, where the processor multiplies in it
    int8   recurrent and dense layers with dynamically quantised weights, on demand only

The embedding, the emissions and the CRF stay in full precision: they cost little, and probabilities
need the digits.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from teddy.model.config import NetworkConfig
from teddy.model.errors import MissingExtraError, ModelFileError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import Bundle
from teddy.model.network.cells import pack_lstm
from teddy.model.network.tagger_network import Network
from teddy.model.network.torchscript import from_archive, script
from teddy.model.tagger import TaggingNetwork
from teddy.model.tags.tag_set import TagSet

Precision = Literal["auto", "fp32", "bf16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
_TIMED_RUNS = 7
_NEARLY = 1.25


@contextmanager
def onnx_extra() -> Iterator[None]:
    """Raise MissingExtraError when the block imports a missing `onnx` or `onnxruntime`."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("onnx", "onnxruntime"):
            raise
        raise MissingExtraError(
            f"ONNX models need the package {package}, which is not installed: "
            "pip install 'teddy[onnx]'"
        ) from error


def load_network(bundle: Bundle, precision: str) -> TaggingNetwork:
    """Return the bundle's network, ready to run, in `fp32`, `bf16` or `int8`.

    Raises ValueError when its tags are not those of the manifest's labels.
    """
    wanted = len(TagSet(bundle.manifest.labels).tags)
    if bundle.format == "onnx":
        with onnx_extra():
            from teddy.model.network.onnx_network import OnnxNetwork
        return OnnxNetwork(bundle.archive, precision, wanted)
    network = from_archive(bundle.archive)
    network.eval()
    n_tags = network.emission.weight.shape[0]
    if n_tags != wanted:
        raise ValueError(f"the network has {n_tags} tags, the manifest's labels make {wanted}")
    network.float()  # the file may hold halves
    if precision == "int8":
        return _quantised(bundle, network)
    network.encoder.to(number_format(precision))
    pack(network)
    return network


def number_format(precision: str) -> torch.dtype:
    """Return the number format of the encoder's input: bfloat16 or float32 (for int8 too)."""
    return torch.bfloat16 if precision == "bf16" else torch.float32


def pack(network: nn.Module) -> None:
    """Lay the weights of LSTM kernels out for the processor, once instead of at every call.

    From then on the network is for inference on the CPU, in its present number format.
    """
    kernels: Iterator[Any] = network.modules()
    for kernel in kernels:
        if getattr(kernel, "can_be_packed", False):
            kernel.packed = pack_lstm(kernel.layer)


def _quantised(bundle: Bundle, trained: nn.Module) -> TaggingNetwork:
    """Build the network again from the manifest: dynamic quantisation needs an eager module."""
    tag_set = TagSet(bundle.manifest.labels)
    features = WordFeatures(
        Pieces(bundle.pieces), bundle.manifest.features, bundle.words, bundle.lexicon
    )
    network = Network(bundle.manifest.network, features.n_rows, tag_set)
    network.load_state_dict(trained.state_dict())
    with warnings.catch_warnings():
        # torch.ao.quantization is announced for removal upstream, and says so in several ways.
        warnings.simplefilter("ignore")
        network.encoder = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            network.encoder.eval(), {nn.LSTM, nn.GRU, nn.Linear}, dtype=torch.qint8
        )
        return script(network.eval())


def candidates() -> tuple[str, ...]:
    """Return the precisions that `auto` tries on this processor.

    int8 is not among them: it scales its inputs by the whole batch, so that a text's result depends
    on what else is in it (tried: the tags of 9 texts in 300 did, of 0 in fp32 and bf16).
    """
    return ("bf16", "fp32") if processor_has_bf16() else ("fp32",)


def processor_has_bf16() -> bool:
    """Tell whether the processor multiplies in bf16, in tiles (Intel) or in vectors (AMD too).

    Elsewhere bf16 is emulated, and slower than fp32.
    """
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def fastest(passing: Sequence[tuple[str, Callable[[], object]]]) -> str:
    """Return the first name whose call takes hardly longer than the fastest, by their best.

    The one expected to be the fastest comes first, and is not given up for a little: two processes
    on a busy machine should choose alike. A single one is not timed: it is called twice, after
    which torch has compiled it.
    """
    for _, call in passing:
        call()
    if len(passing) == 1:
        ((name, call),) = passing
        call()
        return name
    seconds: dict[str, list[float]] = {name: [] for name, _ in passing}
    for _ in range(_TIMED_RUNS):
        for name, call in passing:
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    least = min(min(each) for each in seconds.values())
    return next(name for name, each in seconds.items() if min(each) <= _NEARLY * least)


def onnx_precisions(path: Path | str, network: NetworkConfig, precision: str) -> tuple[str, ...]:
    """Return the precision to load an ONNX model in: that asked for, or fp32 for `auto`.

    Raises ModelFileError when ONNX Runtime has no such layers.
    """
    if precision == "auto":
        return ("fp32",)
    if precision == "bf16":
        raise ModelFileError(path, "an ONNX model runs in fp32 or int8, not in bf16")
    if precision == "int8" and network.cell not in ("lstm", "lstm-peephole", "lstm-no-forget"):
        reason = f"ONNX Runtime has LSTM layers in int8, but this network has {network.cell} layers"
        raise ModelFileError(path, reason)
    return (precision,)
