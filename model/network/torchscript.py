"""The one file that names `torch.jit`.

TorchScript is deprecated upstream in favour of `torch.export`, which cannot take recurrent layers
of changing lengths today. When it can, this file changes and no other.
"""

import io
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

_LOCK = threading.Lock()
"""Scripting and loading keep state of their own in torch; running does not."""


@contextmanager
def _quiet_and_alone() -> Iterator[None]:
    with _LOCK, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore",
            message=r".*torch\.jit\..* is (deprecated|not supported)",
            category=DeprecationWarning,
        )
        yield


exported = torch.jit.export
"""Marks a method, beside `forward`, that a scripted module shall have."""


def script(module: nn.Module) -> torch.jit.ScriptModule:
    """Compiles a module, with its weights, to TorchScript."""
    with _quiet_and_alone():
        scripted: torch.jit.ScriptModule = torch.jit.script(module)
        return scripted


def to_archive(scripted: torch.jit.ScriptModule, extra_files: Mapping[str, bytes]) -> bytes:
    """The TorchScript archive (a zip) of a module, with `extra_files` under `extra/`."""
    stream = io.BytesIO()
    with _quiet_and_alone():
        torch.jit.save(scripted, stream, _extra_files=dict(extra_files))
    return stream.getvalue()


def from_archive(archive: bytes) -> torch.jit.ScriptModule:
    """Loads a module onto the CPU.

    The archive is a program: check where it is from first (`model.bundle` does).
    """
    with _quiet_and_alone():
        scripted: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(archive), map_location="cpu"
        )
        return scripted
