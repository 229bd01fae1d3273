"""Model files: find them, notice changes, load them and warm them up.

The files are checked now and then. A notification would be faster, but it does not see what another
machine does on a network file system, nor a symbolic link further up that leads elsewhere now
(which is how Kubernetes updates a ConfigMap).
"""

import gc
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from teddy.model.errors import ModelFileError
from teddy.model.file.bundle import read_version
from teddy.service.errors import SettingsError
from teddy.service.setting_values import MODEL_NAME
from teddy.service.settings import Settings

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor


SHIPPED = "en"
"""The model that is served when none is chosen."""

SUFFIXES = (".teddy", ".onnx")
"""Suffixes of model files. Of two files with one stem in a directory, the first is served."""

NO_MODELS = "has no model files"
"""The fault of a directory that may yet get some."""

Signature = tuple[int, ...]
"""Device, inode, times of change in nanoseconds, and size of a file; they differ if it is
replaced."""

Load = Callable[..., "Predictor"]
"""Load a model: `load(path)`, `load(None)` for the one that ships; with `sha256=` if it is pinned.

Raises ModelFileError. It is called in a thread, for one model after another.
"""
WARM_UP_SHAPES = ((1, 8), (1, 32), (8, 24), (64, 24))
"""Batches to warm up with: number of texts, words in each. The first texts of a cold model took up
to 153 ms, now 7; warming up takes 130."""
WARM_UP_CALLS = 3


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file to serve under a name; a path of None is the model that ships.

    Attributes: `pinned`, the SHA-256 that the file must have, if any; `in_directory`, whether it is
    served only while it is in the models directory; `signature`, None where there is no file.
    """

    name: str
    path: Path | None
    pinned: str | None
    in_directory: bool
    signature: Signature | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The files at one moment: those of the settings in their order, then by name.

    `fault` says why the directory cannot be read now; `passed_over`, by file name, why a file in it
    is not served though it looks like a model.
    """

    files: Mapping[str, ModelFile]
    fault: str | None = None
    passed_over: Mapping[str, str] = field(default_factory=dict)


class ModelFiles:
    """Finds the model files that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self.directory = settings.models_dir
        self._pins = settings.model_digests
        self._default = settings.default_model
        self._configured: dict[str, Path | None] = {**settings.models}
        if not self._configured and self.directory is None:
            self._configured[SHIPPED] = None

    def look(self) -> Listing:
        """Return the files as they are now.

        This may take long on a network file system, so call it in a thread.
        """
        listed: dict[str, Path] = {}
        passed_over: dict[str, str] = {}
        fault = None
        if self.directory is not None:
            try:
                listed, passed_over = models_in(self.directory)
            except OSError as error:
                fault = f"cannot be read: {error.strerror}"
            else:
                fault = None if listed or self._configured else NO_MODELS
        for name in listed.keys() & self._configured.keys():
            passed_over[listed.pop(name).name] = f"TEDDY_MODELS names another file {name}"
        paths = self._configured | {name: listed[name] for name in sorted(listed)}
        files = {name: self.file_of(name, path) for name, path in paths.items()}
        return Listing(files, fault, passed_over)

    def check(self, listing: Listing) -> None:
        """Raise SettingsError for a directory that cannot be read, if nothing else is served.

        Without a directory, also if a setting names a model that is not there.
        """
        if not listing.files and listing.fault != NO_MODELS:
            raise SettingsError(
                f"TEDDY_MODELS_DIR: {self.directory} {listing.fault}, and TEDDY_MODELS names none"
            )
        if self.directory is None:
            if unknown := self._pins.keys() - listing.files.keys():
                raise SettingsError(f"TEDDY_MODEL_DIGESTS: no model here is called {min(unknown)}")
            if self._default and self._default not in listing.files:
                raise SettingsError(f"TEDDY_DEFAULT_MODEL: no model here is called {self._default}")

    def file_of(self, name: str, path: Path | None) -> ModelFile:
        """Return the file at `path` under a name, with its pin."""
        seen = None if path is None else signature_of(path)
        return ModelFile(name, path, self._pins.get(name), name not in self._configured, seen)


def models_in(directory: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the model files of a directory by stem, and why others like them are passed over.

    Hidden files are those of who writes them. Raises OSError.
    """
    found: dict[str, Path] = {}
    passed_over: dict[str, str] = {}
    like_models = (path for path in directory.iterdir() if path.suffix.lower() in SUFFIXES)
    for path in sorted(like_models, key=lambda path: path.suffix, reverse=True):
        if path.name.startswith("."):
            continue
        if path.suffix not in SUFFIXES or not MODEL_NAME.fullmatch(path.stem):
            passed_over[path.name] = (
                "its name must be NAME.teddy or NAME.onnx, with a NAME of up to 64 letters, "
                "digits, '.', '_' and '-', the first a letter or a digit"
            )
        elif not path.is_file():
            passed_over[path.name] = "it is not a file, or leads to none"
        elif path.stem in found:
            passed_over[path.name] = f"{found[path.stem].name} is served under this name"
        else:
            found[path.stem] = path
    return found, passed_over


def signature_of(path: Path) -> Signature | None:
    """Return the signature of the file that `path` leads to, through links; None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def model_loader(settings: Settings) -> Load:
    """Return `predictor.load` with the precision in the settings.

    Torch is imported here, in the thread that loads.
    """

    def load(path: Path | None, sha256: str | None = None) -> "Predictor":
        from teddy.model.predictor import load
        from teddy.model.system.memory import freeze_gc, trim_malloc

        # Requests that were cancelled are cycles, through their tracebacks, and keep their model
        # alive: without this, sixteen replaced models were in memory at once. It is quick, since
        # what came with torch is frozen below.
        gc.collect()
        predictor = load(path, precision=settings.precision, sha256=sha256)
        warm_up(predictor)
        # once: what comes with a model is little, and is freed when it is replaced
        if not gc.get_freeze_count():
            freeze_gc()
        trim_malloc()
        return predictor

    return load


def load_unless(load: Load, file: ModelFile, version: str | None) -> "Predictor | None":
    """Return the model in `file`; None if its version is `version`, which needs no loading to know.

    Raises as `load`.
    """
    if version and file.path and has_version(file.path, version):
        return None
    predictor = load(file.path, sha256=file.pinned) if file.pinned else load(file.path)
    return None if predictor.version == version else predictor


def has_version(path: Path, version: str) -> bool:
    """Return whether a file is whole and of that version.

    If it is neither, loading it will report what is wrong.
    """
    try:
        return read_version(path) == version
    except ModelFileError:
        return False


def warm_up(predictor: "Predictor") -> None:
    """Run a model on batches of several shapes, made of its canary's words; none, no warm-up."""
    words = " ".join(canary.text for canary in predictor.manifest.canary).split()
    if not words:
        return
    for n_texts, n_words in WARM_UP_SHAPES:
        text = " ".join(islice(cycle(words), n_words))
        for _ in range(WARM_UP_CALLS):
            predictor.tag([text] * n_texts)
