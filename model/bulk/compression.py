"""Packed files: gzip, zstd, bzip2 and xz, told apart by the ending of the name, read and written as if they were plain.

What is packed in parts and joined is a packed file again, in each of these formats. So every shard is packed by itself.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

from backports import zstd

from teddy.model.errors import DataError


class Packing(StrEnum):
    """How a file is packed; the value is the ending of its name."""

    NONE = ""
    GZIP = ".gz"
    ZSTD = ".zst"
    BZIP2 = ".bz2"
    XZ = ".xz"


GZIP_LEVEL = 6
"""As gzip's own command has it; Python's 9 takes twice the time for a hundredth."""
_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError, lzma.LZMAError)


def packing_of(path: Path) -> Packing:
    """Return how a file of this name is packed."""
    ending = path.suffix.lower()
    return next((packing for packing in Packing if packing.value == ending), Packing.NONE)


def unpacked_name(path: Path) -> Path:
    """Return the path without the ending that says how it is packed."""
    return path.with_suffix("") if packing_of(path) else path


def open_unpacked(path: Path, packing: Packing) -> BinaryIO:
    """Open a file to read what was packed into it; `seek` forward reads on, and backward begins anew."""
    match packing:
        case Packing.GZIP:
            return cast(BinaryIO, gzip.open(path, "rb"))
        case Packing.ZSTD:
            return cast(BinaryIO, zstd.open(path, "rb"))
        case Packing.BZIP2:
            return cast(BinaryIO, bz2.open(path, "rb"))
        case Packing.XZ:
            return cast(BinaryIO, lzma.open(path, "rb"))
    return path.open("rb")


@contextmanager
def packed_into(output: BinaryIO, packing: Packing) -> Iterator[BinaryIO]:
    """Give a file that packs what is written to it into `output`, the same bytes for the same content."""
    packer = _packer(output, packing)
    try:
        yield packer
    finally:
        if packer is not output:
            packer.close()


@contextmanager
def refused_when_broken(path: Path) -> Iterator[None]:
    """Turn what a truncated or foreign packed file raises into a DataError that names it."""
    try:
        yield
    except _BROKEN as error:
        raise DataError(path, None, f"cannot be unpacked: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise DataError(path, None, f"cannot be unpacked: {error}") from None  # bz2 has no error of its own


def _packer(output: BinaryIO, packing: Packing) -> BinaryIO:
    match packing:
        case Packing.GZIP:  # neither time nor name: they would differ from run to run
            return cast(BinaryIO, gzip.GzipFile("", "wb", GZIP_LEVEL, output, mtime=0))
        case Packing.ZSTD:
            return cast(BinaryIO, zstd.ZstdFile(output, "wb"))
        case Packing.BZIP2:
            return cast(BinaryIO, bz2.BZ2File(output, "wb"))
        case Packing.XZ:
            return cast(BinaryIO, lzma.LZMAFile(output, "wb"))
    return output
