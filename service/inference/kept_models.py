"""What workers keep for those that start later: last good files, and the default model.

A worker goes on serving a model whose file was replaced by a bad one, or removed, and the same goes
for rules. When it dies, its successor finds only the bad file. So each file that was loaded is
copied to a directory of the supervisor, which lives as long as the service. (A link would not do:
`cp` writes into the file that is linked.)
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import ENOSPC
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from zipfile import ZipFile

import structlog

from teddy.model.errors import ModelFileError
from teddy.model.file.bundle import read_version
from teddy.service.inference.model_files import ModelFile, has_version
from teddy.service.observability.worker_metrics import worker_number

KEPT_DIRECTORY = "KEPT_MODELS_DIRECTORY"
"""The variable by which the supervisor tells its workers the directory."""
DEFAULT = ".default"
"""A link whose target is the default model's name: it is made in one step, and by one worker."""

log = structlog.get_logger("service.models")


def kept_directory(memory: str | None) -> TemporaryDirectory[str]:
    """Make the directory: on a disk, or in `memory` where no disk can be written to."""
    try:
        return TemporaryDirectory(prefix="teddy-models-")
    except OSError:
        return TemporaryDirectory(prefix="teddy-models-", dir=memory)


class KeptModels:
    """The kept files, by the names of their models. Without a directory nothing is kept."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    @classmethod
    def of_environment(cls) -> Self:
        """Those of the supervisor, if there is one."""
        directory = os.environ.get(KEPT_DIRECTORY)
        return cls(None if directory is None else Path(directory))

    def names(self) -> frozenset[str]:
        """Return the names of the models whose files are kept."""
        if self._directory is None:
            return frozenset()
        return frozenset(path.name for path in self._directory.glob("[!.]*"))

    def path(self, name: str) -> Path | None:
        """Return the kept file of a model, if there is one."""
        return self._directory / name if self._directory and name in self.names() else None

    def keep(self, file: ModelFile, version: str) -> None:
        """Copy a file of that version, which was loaded. Without room for it, a warning says so."""
        if self._directory is None or file.path is None:
            return
        kept = self._directory / file.name
        if has_version(kept, version):
            return
        # A worker that is killed while it copies leaves this to its successor.
        copy = self._directory / f".{file.name}.{worker_number()}"
        try:
            _check_room(self._directory, [file.path])
            shutil.copyfile(file.path, copy)
            if has_version(copy, version):  # or it has been replaced meanwhile
                copy.replace(kept)
        except OSError as error:
            log.warning("a model cannot be kept", model=file.name, reason=error.strerror)
        finally:
            copy.unlink(missing_ok=True)

    @contextmanager
    def trying(self, file: ModelFile) -> Iterator[None]:
        """Leave a sign while a file is loaded, which stays if the worker dies of it."""
        sign = self._sign(file.name)
        if sign is None or file.path == self.path(file.name):
            yield
            return
        with suppress(OSError):
            sign.write_text(str(file.signature))
        try:
            yield
        finally:
            sign.unlink(missing_ok=True)

    def check(self, file: ModelFile) -> None:
        """Raise ModelFileError for a file of which the worker before this one has died.

        It may be too large for the memory, and loading it again would end this worker too. But it
        is loaded if no other is kept.
        """
        sign, kept = self._sign(file.name), self.path(file.name)
        if file.path is None or kept is None or sign is None:
            return
        with suppress(FileNotFoundError):
            if sign.read_text() == str(file.signature) and not has_version(
                file.path, read_version(kept)
            ):
                raise ModelFileError(file.path, "a worker died while it loaded this file")

    def _sign(self, name: str) -> Path | None:
        return self._directory and self._directory / f".trying.{worker_number()}.{name}"

    def forget(self, name: str) -> None:
        """Remove the kept file of a model that is not served any more."""
        if self._directory is not None:
            (self._directory / name).unlink(missing_ok=True)

    def keep_rules(self, paths: Sequence[Path], version: str) -> None:
        """Copy a file of rules, the first, and those that it names, as `Rules` has read them.

        Without room for them, a warning says so.
        """
        from teddy.model.rules.loading import copy_name

        kept = self._kept_rules(paths[0])
        if kept is None or self._directory is None:
            return
        copy, digest = kept.with_name(f"{kept.name}.{worker_number()}"), sha256()
        try:
            if kept.exists():
                with ZipFile(kept) as archive:
                    if archive.comment.decode() == version:
                        return
            _check_room(self._directory, paths)
            with ZipFile(copy, "w") as archive:
                archive.comment = version.encode()
                for number, path in enumerate(paths):
                    with path.open("rb") as file, archive.open(copy_name(number, path), "w") as to:
                        while part := file.read(2**20):
                            digest.update(part)
                            to.write(part)
            if digest.hexdigest().startswith(version):  # or one has been replaced meanwhile
                copy.replace(kept)
        except OSError as error:
            log.warning("rules cannot be kept", file=paths[0].name, reason=error.strerror)
        finally:
            copy.unlink(missing_ok=True)

    @contextmanager
    def rules_copies(self, path: Path) -> Iterator[Path | None]:
        """Unpack the copies of a file of rules and those that it names; None if none are kept."""
        kept = self._kept_rules(path)
        if kept is None or not kept.exists():
            yield None
            return
        with TemporaryDirectory(prefix=".copies-", dir=self._directory) as folder:
            with ZipFile(kept) as archive:
                archive.extractall(folder)
            yield Path(folder)

    def _kept_rules(self, path: Path) -> Path | None:
        name = sha256(str(path.absolute()).encode()).hexdigest()[:16]
        return self._directory and self._directory / f".rules.{name}"

    def default(self) -> str | None:
        """Return the name of the default model, if a worker has chosen one."""
        if self._directory is None:
            return None
        try:
            return os.readlink(self._directory / DEFAULT)
        except FileNotFoundError:
            return None

    def agree_on_default(self, name: str, instead_of: str | None) -> str:
        """Propose a default model; return the one that was proposed first."""
        if self._directory is None:
            return name
        if instead_of is not None and self.default() == instead_of:
            (self._directory / DEFAULT).unlink(missing_ok=True)
        with suppress(FileExistsError):
            (self._directory / DEFAULT).symlink_to(name)
        return self.default() or name


def _check_room(directory: Path, paths: Sequence[Path]) -> None:
    """Raise OSError where there is no room for copies of files, and as much again."""
    if shutil.disk_usage(directory).free < 2 * sum(path.stat().st_size for path in paths):
        raise OSError(ENOSPC, os.strerror(ENOSPC))
