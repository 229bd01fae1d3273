"""The log of a job on standard error: a JSON object a line, unless a person is looking on.

Every object has `time` (UTC), `level` (info, warning or error), `event` and the fields of that
event:

    note          `message`
    update        `step` of `steps`, `epoch`, `loss`, `words_per_second`, `seconds_left`, ...;
                  now and then
    evaluation    `step`, `epoch`, `f1`, `precision`, `recall`, `loss`, `best`
    held_out      `step`, `epoch`, `perplexity`, `accuracy`, ...; of pre-training
    end           `state` (see `teddy.training.job.job.State`), and unless it is `finished` a
                  `message` that says why
"""

import datetime
import json
import math
import re
import sys
from collections.abc import Mapping
from typing import Literal, TextIO

Level = Literal["info", "warning", "error"]


def timestamp() -> str:
    """Return now, in UTC, such as 2031-05-04T03:02:01.123Z."""
    now = datetime.datetime.now(datetime.UTC)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Log:
    """Writes events to a stream: as JSON; on a terminal only notes, as plain text."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to a stream, or to standard error when it is None."""
        self._stream = sys.stderr if stream is None else stream
        self._is_for_people = is_terminal(self._stream)

    def note(self, message: str, level: Level = "info") -> None:
        """Write a message in words."""
        self.write("note", {"message": message}, level)

    def write(self, event: str, fields: Mapping[str, object], level: Level = "info") -> None:
        """Write a line and flush it, so that readers see it at once."""
        if self._is_for_people:
            line = str(fields["message"]) if event == "note" else ""
        else:
            values = {key: _finite(value) for key, value in fields.items()}
            values = {"time": timestamp(), "level": level, "event": event, **values}
            line = json.dumps(values, ensure_ascii=False)
        if line:
            self._stream.write(line + "\n")
            self._stream.flush()


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person is looking on, as far as one can tell."""
    return stream.isatty()


def _finite(value: object) -> object:
    """JSON has no word for a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def without_password(text: str) -> str:
    """Return a URI, or what quotes one, without whom it logs in as."""
    return re.sub(r"//[^/@\s]*@", "//", text)
