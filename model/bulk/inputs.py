"""Which files are tagged, what is in them, and where the answers go.

    corpus/            every file below whose ending is known, hidden ones apart
    'corpus/**/*.txt'  what the pattern matches; ** stands for any number of folders
    letters.txt        a file, whatever its ending when the format is said

In an output folder a file keeps its name, and its folder below the fixed part of the pattern. Lines of text become
objects, so that letters.txt.gz becomes letters.jsonl.gz.
"""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from teddy.model.bulk.compression import Packing, packing_of, unpacked_name
from teddy.model.errors import DataError
from teddy.model.records import Format

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

    Raises: DataError when the format is not known, or when the target is the source or has to be another format.
    """
    form = form or guess_format(source)
    if (form is Format.PARQUET) != (_known_format(target) is Format.PARQUET):
        wanted = "rows become rows: the output's name must end with .parquet, and only then"
        raise DataError(target, None, wanted)
    return _checked(Input(path=source, form=form, target=target))


def find_inputs(sources: Sequence[Path], folder: Path, form: Format | None = None) -> list[Input]:
    """Return the files that are meant, in order of the sources and then of their paths, each once.

    What lies in `folder`, where the output goes, is never meant by a pattern or a folder.

    Raises: DataError when a source has no file, a format is not known, or two outputs or an input and an output would
    be the same file; FileNotFoundError for a file that is not there.
    """
    found = {path: relative for source in sources for path, relative in _expand(source, folder, form)}
    inputs = [_input(path, folder / relative, form) for path, relative in found.items()]
    by_target: dict[Path, Path] = {}
    for each in inputs:
        other = by_target.setdefault(each.target, each.path)
        if other != each.path:
            raise DataError(each.path, None, f"its output would be {each.target}, and so would that of {other}")
    return inputs


def _input(path: Path, place: Path, form: Format | None) -> Input:
    form = form or guess_format(path)
    return _checked(Input(path=path, form=form, target=_answers_name(place, form)))


def _answers_name(place: Path, form: Format) -> Path:
    if form is not Format.TEXT:
        return place
    bare = unpacked_name(place)
    named = bare.with_suffix(".jsonl") if _ENDINGS.get(bare.suffix.lower()) else bare.with_name(f"{bare.name}.jsonl")
    return named.with_name(named.name + packing_of(place).value)


def _checked(each: Input) -> Input:
    if each.target.exists() and each.path.samefile(each.target):
        raise DataError(each.target, None, "is the input as well; the output needs a name of its own")
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
    files = [(path, name) for path, name in paths if path.is_file() and output not in path.resolve().parents]
    known = [(path, name) for path, name in files if form or not source.is_dir() or _known_format(path)]
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
