"""What the benchmarks' command lines have in common."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """`--text` and `--model`; see `check_files`."""
    parser.add_argument(
        "--text", type=Path, metavar="FILE", help="a real text, UTF-8, a paragraph a line"
    )
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="a model file; the one that ships by default"
    )


def check_files(parser: argparse.ArgumentParser, files: Sequence[Path | None]) -> None:
    """Ends the program with one line if a file that is named is not there."""
    for file in files:
        if file is not None and not file.is_file():
            parser.error(f"{file}: there is no such file")


def read_names(
    parser: argparse.ArgumentParser, option: str, value: str | None, known: Sequence[str]
) -> tuple[str, ...]:
    """The names of `NAME,...`; ends the program with one line if one of them is not known."""
    names = tuple(name.strip() for name in value.split(",")) if value else ()
    if strangers := set(names).difference(known):
        parser.error(
            f"{option}: there is no {', '.join(sorted(strangers))}; there are {', '.join(known)}"
        )
    return names
