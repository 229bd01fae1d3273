"""The files of models: which there are to serve, under what names, and whether they have changed.

They are looked at, now and then. A notification would be quicker but says nothing of what another machine does on a
network file system, nor of a symbolic link further up that leads elsewhere now (how Kubernetes updates a ConfigMap).
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from teddy.service.errors import SettingsError
from teddy.service.settings import MODEL_NAME, Settings

SHIPPED = "en"
"""The name of the model that is served when none is chosen."""

SUFFIXES = (".teddy", ".onnx")
"""Of a model's file. Where a directory has both of one stem, the first is served."""

Signature = tuple[int, ...]
"""Device, inode, times of change in nanoseconds, and bytes of a file: they differ when another is in its place."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file to serve under a name; without a path, the model that ships.

    Attributes: `pinned`, the SHA-256 of the only file that will do, if there is one; `in_directory`, whether it is
    served because it lies in the directory, and for no longer; `signature`, None where there is no file.
    """

    name: str
    path: Path | None
    pinned: str | None
    in_directory: bool
    signature: Signature | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The files at one moment, the default model's first. `fault` says why the directory tells nothing now."""

    files: Mapping[str, ModelFile]
    fault: str | None = None


class ModelFiles:
    """Where the settings say that models are."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.models_dir
        self._pins = settings.model_digests
        self._configured: dict[str, Path | None] = {**settings.models}
        if not self._configured and self._directory is None:
            self._configured[SHIPPED] = None

    def look(self) -> Listing:
        """What there is now. It may take long where the file system is far away, so call it in a thread."""
        listed: dict[str, Path] = {}
        fault = None
        if self._directory is not None:
            try:
                listed = models_in(self._directory)
            except OSError as error:
                fault = f"cannot be read: {error.strerror}"
            else:
                fault = None if listed or self._configured else "has no model files"
        paths = self._configured | {name: listed[name] for name in sorted(listed.keys() - self._configured.keys())}
        return Listing({name: self._file(name, path) for name, path in paths.items()}, fault)

    def check(self, listing: Listing) -> None:
        """Raises SettingsError unless there is something to serve, and for a pin that no model can ever have."""
        if not listing.files:
            raise SettingsError(f"TEDDY_MODELS_DIR: {self._directory} {listing.fault}, and TEDDY_MODELS names none")
        unknown = self._pins.keys() - listing.files.keys()
        if unknown and self._directory is None:
            raise SettingsError(f"TEDDY_MODEL_DIGESTS: no model here is called {min(unknown)}")

    def _file(self, name: str, path: Path | None) -> ModelFile:
        seen = None if path is None else signature_of(path)
        return ModelFile(name, path, self._pins.get(name), name not in self._configured, seen)


def models_in(directory: Path) -> dict[str, Path]:
    """The model files of a directory by their stems, those whose stem can be a name. Raises OSError."""
    found = [path for path in directory.iterdir() if path.suffix in SUFFIXES and MODEL_NAME.fullmatch(path.stem)]
    found.sort(key=lambda path: SUFFIXES.index(path.suffix), reverse=True)
    return {path.stem: path for path in found if path.is_file()}


def signature_of(path: Path) -> Signature | None:
    """What changes with the file that `path` leads to, through symbolic links; None where it leads to none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
