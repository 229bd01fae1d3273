"""The models that are served: name -> loaded predictor. Each can be replaced while it is in use.

    a file that changed, POST .../reload, SIGHUP
      -> load beside the old one, in a thread -> swap, between two batches

Loading never blocks requests: each keeps the model that it began with. If a new file is refused for
any reason, the old model goes on serving.
"""

import asyncio
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING

import structlog

from teddy.model.errors import FileError, TeddyError
from teddy.service.errors import (
    ModelRefusedError,
    NotReadyError,
    NotReloadableError,
    UnknownLabelError,
    UnknownModelError,
)
from teddy.service.inference.model_files import (
    SHIPPED,
    Listing,
    Load,
    ModelFile,
    ModelFiles,
    Signature,
    load_unless,
)
from teddy.service.observability.metrics import Metrics
from teddy.service.schemas import ModelDetails, ModelReference, ModelSummary
from teddy.service.settings import Settings

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor

__all__ = ["SHIPPED", "Load", "Models", "ServedModel"]

LONGEST_REASON = 300
PATH_LIKE = re.compile(r"\S*[/\\]\S*")

log = structlog.get_logger("service.models")


def now() -> str:
    """Return the time: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A loaded model under the name that clients use.

    A request keeps the model that it began with.

    Attributes: `loaded`, when (UTC, ISO 8601); `refused`, why the file that should have replaced it
    was refused.
    """

    name: str
    predictor: "Predictor"
    default: bool
    loaded: str = field(default_factory=now)
    refused: str | None = None

    @property
    def version(self) -> str:
        """The version in its file."""
        return self.predictor.version

    @property
    def reference(self) -> ModelReference:
        """The model's name and version, for an answer."""
        return ModelReference(name=self.name, version=self.version)

    @property
    def summary(self) -> ModelSummary:
        """The model's entry in the list of models."""
        return ModelSummary.model_validate(self._known())

    @property
    def details(self) -> ModelDetails:
        """All that the service publishes about the model."""
        return ModelDetails.model_validate(self.predictor.manifest.as_dict() | self._known())

    def _known(self) -> dict[str, object]:
        manifest = self.predictor.manifest
        return {
            "name": self.name,
            "version": self.version,
            "default": self.default,
            "language": manifest.language,
            "labels": list(manifest.labels),
            "precision": self.predictor.precision,
            "loaded": self.loaded,
            "refused": self.refused,
        }

    def as_default(self, default: bool) -> "ServedModel":
        """Return this model marked as the default model, or not."""
        return self if default == self.default else replace(self, default=default)

    def check_labels(self, labels: list[str] | None) -> None:
        """Raise UnknownLabelError if one of `labels` is not a label of the model."""
        known = self.predictor.manifest.labels
        for label in labels or ():
            if label not in known:
                raise UnknownLabelError(
                    f"Model {self.name} has no label {label!r}; it has {', '.join(known)}."
                )


def public_reason(error: Exception) -> str:
    """Return why a file was refused, without the machine's paths."""
    if not isinstance(error, TeddyError):
        # the message may contain anything; the log has the details
        return "it cannot be loaded"
    said = error.reason if isinstance(error, FileError) else str(error)
    return PATH_LIKE.sub("[...]", said)[:LONGEST_REASON]


class Models:
    """The models by name; empty until `load` is done. Use it in one event loop.

    Files are loaded one at a time, so memory holds at most one model more than are served.
    """

    def __init__(self, settings: Settings, load: Load, metrics: Metrics) -> None:
        self._files = ModelFiles(settings)
        self._poll_seconds = settings.reload_poll_seconds
        self._load = load
        self._metrics = metrics
        self.ready = False
        """Whether every model is loaded."""
        self._served: dict[str, ServedModel] = {}
        self._tried: dict[str, Signature | None] = {}
        """By name, the file that was loaded or refused last; not tried again until it changes."""
        self._fault: str | None = None
        self._changing = asyncio.Lock()
        self._asked: set[str] = set()

    def check_ready(self) -> None:
        """Raise NotReadyError while models are being loaded."""
        if not self.ready:
            raise NotReadyError("The models are still being loaded.", retry_after_seconds=1)

    def get(self, name: str | None) -> ServedModel:
        """Return the model of that name, or the default model.

        Raises NotReadyError and UnknownModelError.
        """
        if not self.ready:
            self.check_ready()
        if name is None:
            return next(iter(self._served.values()))
        if name not in self._served:
            raise self._unknown(name)
        return self._served[name]

    def all(self) -> list[ServedModel]:
        """Return every model, the default first. Raises NotReadyError."""
        self.check_ready()
        return list(self._served.values())

    def names(self) -> frozenset[str]:
        """Return the names of the models; none before they are loaded. Safe from any thread."""
        return frozenset(self._served)

    async def load(self) -> None:
        """Load all files, and serve them once all are loaded.

        A file of the directory that is refused is skipped if any other is served. Raises
        ModelFileError for a file that the settings name, and SettingsError if there is nothing to
        serve.
        """
        async with self._changing:
            listing = await self._look()
            self._files.check(listing)
            refused: TeddyError | None = None
            for file in listing.files.values():
                try:
                    await self._serve(file)
                except TeddyError as error:
                    if not file.in_directory:
                        raise
                    self._refuse(file, error)
                    refused = error
            if refused and not self._served:
                raise refused
            self._arrange(listing)
            self.ready = True

    async def watch(self) -> None:
        """Check the files every `reload_poll_seconds`, for ever; if that is 0, return at once."""
        failing = False
        while self._poll_seconds:
            await asyncio.sleep(self._poll_seconds)
            try:
                await self.reload_all()
                failing = False
            # a watch that ends without a message would be worse than any fault
            except Exception as error:
                if not failing:
                    log.error("model files cannot be followed", exc_info=error)
                failing = True

    async def reload_all(self) -> None:
        """Load every file that has changed, and drop models whose files have left the directory.

        A refused file raises nothing: the log, the metrics and the list of models report it.
        """
        if not self.ready:
            return
        async with self._changing:
            listing = await self._look()
            for file in listing.files.values():
                if file.name not in self._tried or file.signature != self._tried[file.name]:
                    await self._try(file)
            self._arrange(listing)

    async def reload(self, name: str) -> ServedModel:
        """Load a model's file now, and return the model that is served then.

        The bytes of the file decide: if they are those of the served model, it stays. A load that
        `watch` has begun is waited for; a second request meanwhile is refused.

        Raises NotReadyError, UnknownModelError, NotReloadableError, and ModelRefusedError: the old
        model stays.
        """
        self.check_ready()
        if name in self._asked:
            raise NotReloadableError(
                f"Model {name} is being reloaded already.", retry_after_seconds=1
            )
        self._asked.add(name)
        try:
            async with self._changing:
                listing = await self._look()
                if name not in listing.files:
                    raise self._unknown(name, listing.fault or "has lost its file")
                refusal = await self._try(listing.files[name])
                self._arrange(listing)
        finally:
            self._asked.remove(name)
        if refusal:
            raise refusal
        return self._served[name]

    async def _look(self) -> Listing:
        """Return the files as they are now.

        A fault of the directory is logged when it begins and when it ends.
        """
        listing = await asyncio.to_thread(self._files.look)
        if listing.fault != self._fault:
            self._fault = listing.fault
            log.warning("models directory", fault=listing.fault)
        return listing

    async def _try(self, file: ModelFile) -> ModelRefusedError | None:
        """Serve a file, or report what is wrong with it and keep the old model."""
        try:
            is_new = await self._serve(file)
        except Exception as error:  # a file can be wrong in more ways than can be listed
            return self._refuse(file, error)
        self._metrics.reload(file.name, "changed" if is_new else "unchanged")
        return None

    async def _serve(self, file: ModelFile) -> bool:
        """Load a file and replace the served model; return False if it is the same model."""
        started = perf_counter()
        old = self._served.get(file.name)
        predictor = await asyncio.to_thread(
            load_unless, self._load, file, old.version if old else None
        )
        # Not before: what is cancelled has not been tried. If the file has changed since it was
        # checked, the next check notices.
        self._tried[file.name] = file.signature
        if predictor is None:
            self._served[file.name] = replace(self._served[file.name], refused=None)
            return False
        if old:
            self._metrics.drop_model(old.name, old.version, old.predictor.precision)
        new = ServedModel(file.name, predictor, default=old is not None and old.default)
        self._served[file.name] = new
        self._metrics.serve_model(new.name, new.version, predictor.precision, predictor.manifest)
        log.info(
            "model loaded",
            model=new.name,
            version=new.version,
            previous=old.version if old else None,
            seconds=round(perf_counter() - started, 3),
        )
        return True

    def _refuse(self, file: ModelFile, error: Exception) -> ModelRefusedError:
        """Report a refused file: everything to the log, a short reason to clients."""
        reason = public_reason(error)
        self._tried[file.name] = file.signature
        self._metrics.reload(file.name, "refused")
        old = self._served.get(file.name)
        if old:
            self._served[file.name] = replace(old, refused=reason)
        log.error(
            "a model file was refused",
            model=file.name,
            serving=old.version if old else None,
            exc_info=error,
        )
        kept = (
            f"version {old.version} goes on serving" if old else "nothing is served under this name"
        )
        refusal = ModelRefusedError(f"The file of model {file.name} was refused: {reason}; {kept}.")
        refusal.__cause__ = error
        return refusal

    def _arrange(self, listing: Listing) -> None:
        """Drop what has left the directory, and put the default model first.

        Nothing is dropped while the directory cannot be read, and never all models.
        """
        there = self._served.keys() & listing.files.keys()
        kept = set(self._served) if listing.fault or not there else there
        for name in self._served.keys() - kept:
            model = self._served[name]
            self._metrics.drop_model(name, model.version, model.predictor.precision)
            log.info("a model's file has left the directory", model=name, version=model.version)
        for name in self._tried.keys() - listing.files.keys():
            self._metrics.model_refused.labels(name).set(0)
        names = [
            name for name in dict.fromkeys([*listing.files, *sorted(self._served)]) if name in kept
        ]
        self._served = {name: self._served[name].as_default(name == names[0]) for name in names}
        self._tried = {
            name: tried
            for name, tried in self._tried.items()
            if name in listing.files or name in kept
        }

    def _unknown(self, name: str, gone: str = "") -> UnknownModelError | ModelRefusedError:
        if gone and name in self._served:
            return ModelRefusedError(f"Nothing to load for model {name}: its directory {gone}.")
        return UnknownModelError(
            f"There is no model {name[:64]!r} here; there are: {', '.join(self._served)}."
        )
