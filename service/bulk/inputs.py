"""The input files: their formats, packings and shards, and the files that their answers become.

    corpus/            every file below with a known ending, except hidden ones
    'corpus/**/*.txt'  what the pattern matches; ** is any number of folders
    letters.txt        a file, of any ending if a format is given

In an output folder a file keeps its name, and its folder below the fixed part of the pattern. Lines
of text become objects, so that letters.txt.gz becomes letters.jsonl.gz. Each shard is packed by
itself: in all of these packings, packed parts one after another are a packed file.
"""

import bz2
import glob
import gzip
import lzma
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

from backports import zstd

from teddy.model.errors import DataError
from teddy.service.bulk.records import TEXT_FIELD, Format, Selection

SHARD_BYTES = 1 << 21
"""A shard ends with the first record that reaches a multiple of this. It is some six seconds of a
core's work, which a killed worker loses, and for which one may be alone in the end."""
GZIP_LEVEL = 6
"""The default of the gzip command; Python's 9 takes twice the time to save a hundredth."""
_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError, lzma.LZMAError)
_ENDINGS = {
    ".txt": Format.TEXT,
    ".text": Format.TEXT,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".conll": Format.CONLL,
    ".iob": Format.CONLL,
    ".bio": Format.CONLL,
    ".parquet": Format.PARQUET,
}


class Packing(StrEnum):
    """The packing of a file; the value is the ending of its name."""

    NONE = ""
    GZIP = ".gz"
    ZSTD = ".zst"
    BZIP2 = ".bz2"
    XZ = ".xz"


def packing_of(path: Path) -> Packing:
    """Return the packing of a file of this name."""
    ending = path.suffix.lower()
    return next((packing for packing in Packing if packing.value == ending), Packing.NONE)


def unpacked_name(path: Path) -> Path:
    """Return the path without the ending of its packing."""
    return path.with_suffix("") if packing_of(path) else path


def open_unpacked(path: Path, packing: Packing) -> BinaryIO:
    """Open a file to read its unpacked bytes; `seek` backward reads it again from its start."""
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
    """Give a file that packs into `output`: the same bytes for the same content."""
    packer = _packer(output, packing)
    try:
        yield packer
    finally:
        if packer is not output:
            packer.close()


@contextmanager
def refused_when_broken(path: Path) -> Iterator[None]:
    """Turn the errors of a truncated or foreign packed file into a DataError that names it."""
    try:
        yield
    except _BROKEN as error:
        raise DataError(path, None, f"cannot be unpacked: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        # bz2 has no error of its own
        raise DataError(path, None, f"cannot be unpacked: {error}") from None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A file to tag, and the file of its answers."""

    path: Path
    form: Format
    target: Path

    @property
    def packing(self) -> Packing:
        """The packing of the input; parquet packs by itself."""
        return Packing.NONE if self.form is Format.PARQUET else packing_of(self.path)

    @property
    def target_packing(self) -> Packing:
        """The packing of the answers."""
        return Packing.NONE if self.form is Format.PARQUET else packing_of(self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Unpacked bytes `start` to `stop` of a file, after `line` lines.

    Of a parquet file: row groups `start` to `stop`, after `line` rows.
    """

    number: int
    start: int
    stop: int
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that are the same for all files."""

    selection: Selection
    text_field: str = TEXT_FIELD
    shard_bytes: int = SHARD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A shard to tag, of the input at `position`."""

    position: int
    source: Input
    shard: Shard

    @property
    def name(self) -> str:
        """The file and the number of the shard, from 1, for messages."""
        return f"{self.source.path}, shard {self.shard.number + 1}"


def guess_format(path: Path) -> Format:
    """Return the format of a file by the ending of its name. Raises DataError if it is unknown."""
    form = _known_format(path)
    if form is None:
        known = ", ".join(_ENDINGS)
        raise DataError(path, None, f"its ending is none of {known}; say what it is with --format")
    return form


def is_single_file(sources: Sequence[Path]) -> bool:
    """Return whether this is one file, not a folder or a pattern."""
    return len(sources) == 1 and not sources[0].is_dir() and not _is_pattern(sources[0])


def single_input(source: Path, target: Path, form: Format | None = None) -> Input:
    """Return one file with `target` for its answers.

    Raises DataError when the format is unknown, or the target is the source or of a wrong format.
    """
    form = form or guess_format(source)
    if (form is Format.PARQUET) != (_known_format(target) is Format.PARQUET):
        wanted = "rows become rows: the output's name must end with .parquet, and only then"
        raise DataError(target, None, wanted)
    return _checked(Input(path=source, form=form, target=target))


def find_inputs(sources: Sequence[Path], folder: Path, form: Format | None = None) -> list[Input]:
    """Return the files of the sources, in their order and then sorted, each once.

    A pattern or a folder does not include what is in the output `folder`.

    Raises DataError when a source has no file, a format is unknown, or two outputs or an input and
    an output are the same file; FileNotFoundError for a missing file.
    """
    found = {
        path: relative for source in sources for path, relative in _expand(source, folder, form)
    }
    inputs = [_input(path, folder / relative, form) for path, relative in found.items()]
    by_target: dict[Path, Path] = {}
    for each in inputs:
        other = by_target.setdefault(each.target, each.path)
        if other != each.path:
            reason = f"its output would be {each.target}, and so would that of {other}"
            raise DataError(each.path, None, reason)
    return inputs


def _input(path: Path, place: Path, form: Format | None) -> Input:
    form = form or guess_format(path)
    return _checked(Input(path=path, form=form, target=_answers_name(place, form)))


def _answers_name(place: Path, form: Format) -> Path:
    if form is not Format.TEXT:
        return place
    bare = unpacked_name(place)
    stem = bare.stem if bare.suffix.lower() in _ENDINGS else bare.name
    return bare.with_name(f"{stem}.jsonl{packing_of(place).value}")


def _checked(each: Input) -> Input:
    if each.target.exists() and each.path.samefile(each.target):
        reason = "is the input as well; the output needs a name of its own"
        raise DataError(each.target, None, reason)
    return each


def _expand(source: Path, folder: Path, form: Format | None) -> Iterator[tuple[Path, Path]]:
    """Yield the files of a source, sorted, each with its path below the output folder."""
    if not source.is_dir() and not _is_pattern(source):
        source.stat()  # raises when it is not there
        yield source, Path(source.name)
        return
    base = source if source.is_dir() else _fixed_part(source)
    pattern = "**" if source.is_dir() else str(source.relative_to(base))
    output = folder.resolve()
    names = sorted(glob.glob(pattern, root_dir=base, recursive=True))
    paths = [(base / name, Path(name)) for name in names]
    any_ending = form is not None or not source.is_dir()
    known = [
        (path, name)
        for path, name in paths
        if path.is_file()
        and output not in path.resolve().parents
        and (any_ending or _known_format(path))
    ]
    if not known:
        raise DataError(source, None, "there is no file to tag")
    yield from known


def _is_pattern(source: Path) -> bool:
    return glob.has_magic(str(source)) and not source.exists()


def _fixed_part(pattern: Path) -> Path:
    """Return the folders before the first with a wildcard."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _known_format(path: Path) -> Format | None:
    form = _ENDINGS.get(unpacked_name(path).suffix.lower())
    return None if form is Format.PARQUET and packing_of(path) else form
