"""Memory: what is free goes back to the system, and what stays is not gone through again and again."""

import ctypes
import gc
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


def trim_malloc() -> None:
    """Lets the C library return the pages that it holds free.

    Tensors of many sizes leave holes: 26 MB after a million words of mixed lengths. glibc keeps
    them until it is asked; other libraries have nothing to ask, and then this does nothing. It
    takes some 2 ms.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@contextmanager
def collector_paused() -> Iterator[None]:
    """A block during which Python's garbage collector does not run, unless it was off anyhow.

    For a block that makes many objects and no cycles, and ends soon: a tenth of the time that
    tagging took went into looking through them and all of torch's. (Should two threads be in such
    blocks at once, it runs again when the first of them is done.)
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def freeze_gc() -> None:
    """Tells Python's garbage collector that everything there is now will stay.

    For programs that load a model and then do nothing but tag; a library must not decide it for
    others. torch alone has 200,000 objects, and going through them took a tenth of the time that
    tagging took.
    """
    gc.collect()
    gc.freeze()


def bound_kernel_cache() -> None:
    """Lets oneDNN keep 32 kernels, unless the environment has another number.

    It keeps a thousand by default, of 0.2 MB each, and does not give them back; batches have few
    shapes (see `bucket_size`). torch reads the number when it first computes, so this has no effect
    in a program that has done so.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")


def resident_bytes() -> int:
    """Memory of the process that asks, in RAM; its peak where the system does not tell the present."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return trim
