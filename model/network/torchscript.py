"""TorchScript: the only file that names `torch.jit`.

It is deprecated upstream in favour of `torch.export`, which cannot take recurrent layers of
changing lengths today.
"""

import io
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

_LOCK = threading.Lock()
"""Scripting and loading keep global state in torch; running does not."""


@contextmanager
def _exclusive_and_quiet() -> Iterator[None]:
    with _LOCK, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore",
            message=r".*torch\.jit\..* is (deprecated|not supported)",
            category=DeprecationWarning,
        )
        yield


exported = torch.jit.export
"""A decorator for a method, beside `forward`, that a scripted module has."""


def script(module: nn.Module) -> torch.jit.ScriptModule:
    """Compile a module, with its weights, to TorchScript."""
    with _exclusive_and_quiet():
        scripted: torch.jit.ScriptModule = torch.jit.script(module)
        return scripted


def to_archive(scripted: torch.jit.ScriptModule, extra_files: Mapping[str, bytes]) -> bytes:
    """Return the TorchScript archive (a zip) of a module, with `extra_files` under `extra/`."""
    stream = io.BytesIO()
    with _exclusive_and_quiet():
        torch.jit.save(scripted, stream, _extra_files=dict(extra_files))
    return stream.getvalue()


def from_archive(archive: bytes) -> torch.jit.ScriptModule:
    """Load a module onto the CPU. The archive is a program: check its digest first."""
    with _exclusive_and_quiet():
        scripted: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(archive), map_location="cpu"
        )
        return scripted
