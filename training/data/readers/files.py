"""Corpus files: found, unpacked, decoded and cut into lines."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, AnyStr

from teddy.model.errors import DataError

_UNPACK = {".xz": lzma.decompress, ".gz": gzip.decompress, ".bz2": bz2.decompress}
_OPEN: dict[str, Callable[[Path], Any]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
_RARE_IN_CP1252 = frozenset(range(0x20)) - {9, 10, 13} | {0x81, 0x8D, 0x8F, 0x90, 0x9D}
_FOREIGN = re.compile(rb"[\x80-\xff]{4}")
"""More letters beyond ASCII than stand together in Western languages."""
PACKED_SUFFIXES = frozenset(_UNPACK)
_SHIPPED = Path(__file__).parents[2] / "recipes"
"""Where the few sentences lie that come with the recipes."""


def find_files(patterns: Iterable[str], directory: Path) -> list[Path]:
    """Return the files of `patterns` below `directory`: patterns in order, files of a glob sorted.

    A folder, as of brat or `datasets`, stands for itself when it is named, not in a glob.

    A file that comes with the recipes is found by its name, unless `directory` has one of that
    name. Raises DataError for a pattern that no file matches.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = directory / pattern
        if any(character in pattern for character in "*?["):
            matches = sorted(match for match in directory.glob(pattern) if match.is_file())
        else:
            matches = [each for each in (path, _SHIPPED / pattern) if each.exists()][:1]
        if not matches:
            raise DataError(path, None, "no such file")
        found.update(dict.fromkeys(matches))
    return list(found)


def files_within(path: Path) -> list[Path]:
    """Return a file, or all files of a folder, sorted."""
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Return the text of a file that may be packed (.xz, .gz, .bz2), without a byte-order mark.

    Raises DataError for a file that is missing, damaged, empty, binary, or not in this encoding.
    """
    data = _read_bytes(path)
    if not data.strip():
        raise DataError(path, None, "the file is empty")
    encoding = marked_encoding(data, encoding)
    if not _is_wide(encoding) and b"\0" in data:
        raise DataError(path, _line_at(data, data.index(b"\0")), "a binary file: it has a NUL byte")
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(path, _line_at(data, error.start), _undecodable(error, encoding)) from None


def read_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """Return the lines of `read_text`.

    Only LF and CRLF end a line: a word may hold U+2028 or U+0085.
    """
    lines = read_text(path, encoding).split("\n")
    return [line.removesuffix("\r") for line in lines]


def stream_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a file that may be packed, in constant memory.

    CR ends a line in a file without LF, as old Macs and some spreadsheets write it.

    Raises DataError, naming the line where there is one, for a file that is missing, damaged,
    binary or not in this encoding.
    """
    number = 0
    try:
        open_packed = _OPEN.get(path.suffix)
        with open_packed(path) if open_packed else path.open("rb") as lines:
            encoding = marked_encoding(lines.peek(4), encoding)
            if _is_wide(encoding):
                wrapped = io.TextIOWrapper(lines, encoding=encoding, newline="\n")
                for number, text in enumerate(_cut_at_cr(wrapped, "\r", "\n"), start=1):
                    yield number, text.removeprefix("\ufeff").rstrip("\r\n")
                return
            for number, line in enumerate(_cut_at_cr(lines, b"\r", b"\n"), start=1):
                if b"\0" in line:
                    raise DataError(path, number, "a binary file: it has a NUL byte")
                text = line.decode(encoding)
                yield number, (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")
    except UnicodeError as error:
        where = number + _is_wide(encoding)
        raise DataError(path, where, _undecodable(error, encoding)) from None
    except FileNotFoundError:
        raise DataError(path, None, "no such file") from None
    except (lzma.LZMAError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(path, number + 1, f"a damaged {path.suffix} file: {error}") from None
    except OSError as error:
        # What unpacks .bz2 has no error of its own.
        damaged = f"a damaged {path.suffix} file: {error}"
        reason = f"cannot be read: {error.strerror}" if error.strerror else damaged
        raise DataError(path, None, reason) from None


def _cut_at_cr(lines: Iterable[AnyStr], cr: AnyStr, lf: AnyStr) -> Iterator[AnyStr]:
    """Yield lines; those of a file without LF, which comes as one, between its CRs."""
    for number, line in enumerate(lines):
        if number == 0 and cr in line and not line.endswith(lf):
            yield from line.removesuffix(cr).split(cr)
        else:
            yield line


def stream_corpus_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """As `stream_lines`; a file of white space is refused too."""
    is_empty = True
    for number, line in stream_lines(path, encoding):
        is_empty = is_empty and not line.strip()
        yield number, line
    if is_empty:
        raise DataError(path, None, "the file is empty")


def marked_encoding(head: bytes, encoding: str) -> str:
    """Return UTF-16 or UTF-32 for the first bytes of a file that say so, else what is stated."""
    if head[:4] in (BOM_UTF32_LE, BOM_UTF32_BE):
        return "utf-32"
    return "utf-16" if head[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else encoding


def _undecodable(error: UnicodeError, encoding: str) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return f"not {encoding} text: {error}"
    byte = f"byte 0x{error.object[error.start]:02x} ({error.reason})"
    reason = f"not {encoding} text: {byte}; a binary file or another encoding?"
    line = error.object[max(0, error.start - 200) : error.start + 200]
    is_western = all(each not in _RARE_IN_CP1252 for each in line) and not _FOREIGN.search(line)
    return f'{reason} Try encoding = "cp1252"' if is_western else reason


def _is_wide(encoding: str) -> bool:
    """Whether honest text in the encoding has NUL bytes."""
    return "16" in encoding or "32" in encoding


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(path, None, "no such file") from None
    except OSError as error:
        raise DataError(path, None, f"cannot be read: {error.strerror}") from None
    unpack = _UNPACK.get(path.suffix)
    if unpack is None or not data:
        return data
    try:
        return unpack(data)
    except (lzma.LZMAError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(path, None, f"a damaged {path.suffix} file: {error}") from None


def _line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
