"""The history of a directory of served models: which version was put there when, why, and instead of which."""

import json
import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Action = Literal["promoted", "rolled back", "found"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A line of `promotions.jsonl`: from then on, `version` was served as `name`.

    Attributes: `time` is UTC, ISO 8601; `action` is "found" for a file that somebody had put there by hand; `previous`
    is the version that it replaced; `f1` and `previous_f1` are what the two scored on `data`, 0 to 1, where they were
    compared; `source` is the file that it came from.
    """

    time: str
    action: Action
    name: str
    version: str
    previous: str | None = None
    f1: float | None = None
    previous_f1: float | None = None
    data: str | None = None
    source: str | None = None


def now() -> str:
    """The time as a promotion states it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Promotions:
    """The history in a file; of a name, the last line says what is served. Whoever appends holds the folder's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, name: str) -> list[Promotion]:
        """The promotions of a name, the oldest first. A line that a power cut has torn is passed over."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        found = [promotion for line in lines if (promotion := _read(line)) is not None]
        return [promotion for promotion in found if promotion.name == name]

    def append(self, promotion: Promotion) -> None:
        """Add a line, in one write, and wait until it is on disk. Raises OSError."""
        line = json.dumps(asdict(promotion), ensure_ascii=False) + "\n"
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, (("\n" if is_torn else "") + line).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(line: str) -> Promotion | None:
    try:
        content = json.loads(line)
        return Promotion(**{field.name: content.get(field.name) for field in fields(Promotion)})
    except (ValueError, AttributeError):
        return None
