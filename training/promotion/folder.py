"""A directory of models that `teddy serve` watches, with earlier versions and their history.

    NAME.teddy                     the served model; `TEDDY_MODELS_DIR` is this directory
    versions/NAME-VERSION.teddy    the last few versions
    promotions.jsonl               the time, reason and previous version of each promotion
    promotions.lock                held while anything changes

NAME.teddy is a copy, renamed into place, and not a link to a version: some volumes have no links,
and overwriting a link in place would destroy the version to roll back to. The file decides what is
served, not the history: after a kill between the two, the next promotion mends the history.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from teddy.model.errors import ModelFileError
from teddy.model.file.bundle import read_version
from teddy.model.system.files import atomic_path, lock

Action = Literal["promoted", "rolled back", "found"]

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The names of models that the service allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A line of `promotions.jsonl`: from then on, `version` was served as `name`.

    `time` is UTC, ISO 8601; `action` is "found" for a file that was put there by hand; `previous`
    is the version that it replaced; `f1` and `previous_f1` are the scores of the two on `data`, 0
    to 1, if they were compared; `source` is the original file.
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
    """Return the time as a promotion states it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Promotions:
    """The history in a file; of a name, the last line says what is served.

    To append, hold the folder's lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, name: str) -> list[Promotion]:
        """Return the promotions of a name, the oldest first.

        A line that a power cut has torn is passed over.
        """
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            with suppress(ValueError, AttributeError):
                content = json.loads(line)
                known = {field.name: content.get(field.name) for field in fields(Promotion)}
                found.append(Promotion(**known))
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


class ServedFolder:
    """See the head of this file.

    Every method but `names` and `served` wants the lock to be held.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history = Promotions(path / "promotions.jsonl")

    @contextmanager
    def locked(self, note: Callable[[str], None]) -> Iterator[None]:
        """Keep other promotions out, and wait for one that is under way, after noting so.

        Raises OSError for a directory that cannot be made or written to.
        """
        (self.path / "versions").mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "promotions.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                lock(descriptor, wait=False)
            except BlockingIOError:
                note(f"waiting for another promotion in {self.path}")
                lock(descriptor)  # released at the latest when its process ends
            yield
        finally:
            os.close(descriptor)

    def names(self) -> list[str]:
        """Return the names under which there is a model."""
        return sorted(
            path.stem for path in self.path.glob("*.teddy") if MODEL_NAME.fullmatch(path.stem)
        )

    def file(self, name: str) -> Path:
        """Return what is served under a name, if anything is."""
        return self.path / f"{name}.teddy"

    def served(self, name: str) -> str | None:
        """Return the version in its place, None where there is no whole model file."""
        return _version_of(self.file(name))

    def versions(self, name: str) -> dict[str, Path]:
        """Return the versions that are kept, the last one served first."""
        named = re.compile(re.escape(name) + r"-([0-9a-f]{12})\.teddy")
        paths = (self.path / "versions").glob(f"{name}-*.teddy")
        kept = {match[1]: path for path in paths if (match := named.fullmatch(path.name))}
        last = {promotion.version: place for place, promotion in enumerate(self.history.of(name))}
        return dict(sorted(kept.items(), key=lambda item: (-last.get(item[0], -1), item[0])))

    def adopt(self, name: str) -> str | None:
        """Add the served version to the history if it is missing, keep its file, and return it."""
        version = self.served(name)
        history = self.history.of(name)
        before = history[-1].version if history else None
        if version is not None and version != before:
            self._keep(name, version, self.file(name))
            self.history.append(
                Promotion(time=now(), action="found", name=name, version=version, previous=before)
            )
        return version

    def put(self, model_file: Path, promotion: Promotion) -> None:
        """Serve a whole model file from now on, and keep it as a version.

        Raises ModelFileError when the file is not, or no longer, of the version that the promotion
        says, OSError when there is no room: what was served stays.
        """
        name, version = promotion.name, promotion.version
        _copy(self._keep(name, version, model_file), self.file(name), version)
        self.history.append(promotion)

    def before(self, name: str, version: str) -> str | None:
        """Return the version that was served when this one was promoted, if any."""
        for promotion in reversed(self.history.of(name)):
            if promotion.version == version and promotion.action != "rolled back":
                return promotion.previous
        return None

    def prune(self, name: str, keep: int) -> list[str]:
        """Remove all but the last `keep` versions and the served one; return those removed."""
        others = [version for version in self.versions(name) if version != self.served(name)]
        for version in others[keep:]:
            self._version_file(name, version).unlink(missing_ok=True)
        return others[keep:]

    def _version_file(self, name: str, version: str) -> Path:
        return self.path / "versions" / f"{name}-{version}.teddy"

    def _keep(self, name: str, version: str, model_file: Path) -> Path:
        kept = self._version_file(name, version)
        if _version_of(kept) != version:
            _copy(model_file, kept, version)
        return kept


def _version_of(path: Path) -> str | None:
    try:
        return read_version(path)
    except ModelFileError:
        return None


def _copy(source: Path, target: Path, version: str) -> None:
    """Replace the target in one step."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        if read_version(temporary) != version:
            raise ModelFileError(source, f"not the version {version} that it was a moment ago")
