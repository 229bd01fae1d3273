"""One sentence for whoever has not installed what ONNX needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from teddy.model.errors import MissingExtraError


@contextmanager
def onnx_extra() -> Iterator[None]:
    """A block that imports what needs `onnx` or `onnxruntime`. Raises MissingExtraError where one is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("onnx", "onnxruntime"):
            raise
        raise MissingExtraError(
            f"ONNX models need the package {package}, which is not installed: pip install 'teddy[onnx]'"
        ) from error
