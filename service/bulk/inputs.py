"""Which files are tagged, what is in them, how they are packed, and where the answers go.

    corpus/            every file below whose ending is known, hidden ones apart
    'corpus/**/*.txt'  what the pattern matches; ** stands for any number of folders
    letters.txt        a file, whatever its ending when the format is said

In an output folder a file keeps its name, and its folder below the fixed part of the pattern. Lines
of text become objects, so that letters.txt.gz becomes letters.jsonl.gz.

What is packed in parts and joined is a packed file again, in each of these formats. So every shard
is packed by itself.
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
from teddy.service.bulk.records import Format

GZIP_LEVEL = 6
"""As gzip's own command has it; Python's 9 takes twice the time for a hundredth."""
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
    """How a file is packed; the value is the ending of its name."""

    NONE = ""
    GZIP = ".gz"
    ZSTD = ".zst"
    BZIP2 = ".bz2"
    XZ = ".xz"


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
    """One file to tag, and the file that its answers become."""

    path: Path
    form: Format
    target: Path

    @property
    def packing(self) -> Packing:
        """How the input is packed; parquet packs by itself."""
        return Packing.NONE if self.form is Format.PARQUET else packing_of(self.path)

    @property
    def target_packing(self) -> Packing:
        """How the answers are packed."""
        return Packing.NONE if self.form is Format.PARQUET else packing_of(self.target)


def guess_format(path: Path) -> Format:
    """Tell the format of a file from the ending of its name, packed or not.

    Raises: DataError when the ending is none that we know.
    """
    form = _known_format(path)
    if form is None:
        known = ", ".join(_ENDINGS)
        raise DataError(path, None, f"its ending is none of {known}; say what it is with --format")
    return form


def is_single_file(sources: Sequence[Path]) -> bool:
    """Say whether this is one file: not several, no folder, and no pattern."""
    return len(sources) == 1 and not sources[0].is_dir() and not _is_pattern(sources[0])


def single_input(source: Path, target: Path, form: Format | None = None) -> Input:
    """Return what one file is, and that `target` is to hold its answers.

    Raises: DataError when the format is not known, or when the target is the source or has to be
    another format.
    """
    form = form or guess_format(source)
    if (form is Format.PARQUET) != (_known_format(target) is Format.PARQUET):
        wanted = "rows become rows: the output's name must end with .parquet, and only then"
        raise DataError(target, None, wanted)
    return _checked(Input(path=source, form=form, target=target))


def find_inputs(sources: Sequence[Path], folder: Path, form: Format | None = None) -> list[Input]:
    """Return the files that are meant, in order of the sources and then of their paths, each once.

    What lies in `folder`, where the output goes, is never meant by a pattern or a folder.

    Raises: DataError when a source has no file, a format is not known, or two outputs or an input
    and an output would be the same file; FileNotFoundError for a file that is not there.
    """
    found = {
        path: relative for source in sources for path, relative in _expand(source, folder, form)
    }
    inputs = [_input(path, folder / relative, form) for path, relative in found.items()]
    by_target: dict[Path, Path] = {}
    for each in inputs:
        other = by_target.setdefault(each.target, each.path)
        if other != each.path:
            raise DataError(
                each.path, None, f"its output would be {each.target}, and so would that of {other}"
            )
    return inputs


def _input(path: Path, place: Path, form: Format | None) -> Input:
    form = form or guess_format(path)
    return _checked(Input(path=path, form=form, target=_answers_name(place, form)))


def _answers_name(place: Path, form: Format) -> Path:
    if form is not Format.TEXT:
        return place
    bare = unpacked_name(place)
    named = (
        bare.with_suffix(".jsonl")
        if _ENDINGS.get(bare.suffix.lower())
        else bare.with_name(f"{bare.name}.jsonl")
    )
    return named.with_name(named.name + packing_of(place).value)


def _checked(each: Input) -> Input:
    if each.target.exists() and each.path.samefile(each.target):
        raise DataError(
            each.target, None, "is the input as well; the output needs a name of its own"
        )
    return each


def _expand(source: Path, folder: Path, form: Format | None) -> Iterator[tuple[Path, Path]]:
    """Yield the files that a source means, sorted, and the path below the output folder of each."""
    if not source.is_dir() and not _is_pattern(source):
        source.stat()  # raises when it is not there
        yield source, Path(source.name)
        return
    base = source if source.is_dir() else _fixed_part(source)
    pattern = "**" if source.is_dir() else str(source.relative_to(base))
    output = folder.resolve()
    names = sorted(glob.glob(pattern, root_dir=base, recursive=True))
    paths = [(base / name, Path(name)) for name in names]
    files = [
        (path, name)
        for path, name in paths
        if path.is_file() and output not in path.resolve().parents
    ]
    known = [
        (path, name) for path, name in files if form or not source.is_dir() or _known_format(path)
    ]
    if not known:
        raise DataError(source, None, "there is no file to tag")
    yield from known


def _is_pattern(source: Path) -> bool:
    return glob.has_magic(str(source)) and not source.exists()


def _fixed_part(pattern: Path) -> Path:
    """Return the folders before the first that has a wildcard."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _known_format(path: Path) -> Format | None:
    form = _ENDINGS.get(unpacked_name(path).suffix.lower())
    return None if form is Format.PARQUET and packing_of(path) else form
