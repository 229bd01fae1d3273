"""Memory: returning what is free to the system, and sparing what stays from garbage collection."""

import ctypes
import gc
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


def trim_malloc() -> None:
    """Let the C library return its free pages to the system, where it can; takes some 2 ms.

    Tensors of many sizes leave holes: 26 MB after a million words of mixed lengths. glibc keeps
    them until it is asked.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Switch Python's garbage collector off for a block that makes many objects and no cycles.

    A tenth of the time that tagging took went into its walks through all of torch's objects. (With
    two threads in such blocks, it is on again when the first of them is done.)
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def freeze_gc() -> None:
    """Exempt every object that exists now from garbage collection.

    For programs that load a model and then only tag; a library must not decide it for its users.
    torch alone has 200,000 objects, and walking through them took a tenth of the time of tagging.
    """
    gc.collect()
    gc.freeze()


def bound_kernel_cache() -> None:
    """Let oneDNN keep 32 kernels, unless the environment sets another number.

    By default it keeps a thousand, of 0.2 MB each; batches have few shapes (see `bucket_size`).
    torch reads the number when it first computes; after that this has no effect.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")


def resident_bytes() -> int:
    """Return the memory of this process in RAM; its peak where the system does not tell."""
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
