"""In which number formats an ONNX model runs here."""

from pathlib import Path

from teddy.model.config import NetworkConfig
from teddy.model.errors import ModelFileError


def onnx_precisions(path: Path | str, network: NetworkConfig, precision: str) -> tuple[str, ...]:
    """What to load an ONNX model in: what was asked for, or for `auto` fp32.

    Raises ModelFileError for what ONNX Runtime has no layers for.
    """
    if precision == "auto":
        return ("fp32",)
    if precision == "bf16":
        raise ModelFileError(path, "an ONNX model runs in fp32 or int8, not in bf16")
    if precision == "int8" and network.cell not in ("lstm", "lstm-peephole", "lstm-no-forget"):
        raise ModelFileError(path, f"ONNX Runtime has LSTM layers in int8, but this network has {network.cell} layers")
    return (precision,)
