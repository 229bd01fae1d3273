"""The errors of Teddy that users see: messages of one line, for the person who caused them.

HTTP statuses and exit codes are elsewhere: `service` and `teddy` each have a table of them.
"""

import re
from pathlib import Path


def counted(n: int, noun: str) -> str:
    """Return `1 line`, `2 lines` or `2 entities`, for a message."""
    return f"{n:,} {noun if n == 1 else re.sub('y$', 'ie', noun) + 's'}"


class TeddyError(Exception):
    """The root: an error whose message may be shown to the user as it is."""


class TextError(TeddyError):
    """A text that cannot be tagged. The message names the character position, never the text."""


class FileError(TeddyError):
    """Something wrong in a file; shown as ``path:line: reason``.

    Attributes: `path` as the user named it, `line` (1-based, or None where a line means nothing),
    `reason`, and `sample`: a few lines as they should be, which a terminal shows below.
    """

    sample = ""

    def __init__(self, path: Path | str, line: int | None, reason: str) -> None:
        self.path = str(path)
        self.line = line
        self.reason = reason
        place = self.path if line is None else f"{self.path}:{line}"
        super().__init__(f"{place}: {reason}")


class DataError(FileError):
    """A corpus or input file with a broken line, a wrong column, a bad tag, or no content."""


class UnknownLabelError(DataError):
    """A label in a corpus that the recipe neither has nor maps."""


class RecipeError(FileError):
    """A recipe that is not valid TOML, has an unknown key, or a value out of range."""


class RulesError(FileError):
    """A file of rules, or a file that it names, that is refused: with the line of the fault."""


class ModelFileError(FileError):
    """A model file that is refused, and why."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, None, reason)


class MissingExtraError(TeddyError):
    """A missing package of an extra; the message says how to install it."""


class JobInterrupted(TeddyError):  # noqa: N818 - nothing went wrong
    """A job that a signal asked to stop, and that can be resumed: what it had done is on disk."""


class TrainingError(TeddyError):
    """A training run that stopped itself; the message says at which step and why."""


class DivergedError(TrainingError):
    """A training run whose loss or gradient is not finite, or explodes."""
