"""The models that are served: name -> loaded predictor. Each can be replaced while it is in use.

    a file that changed, POST .../reload, SIGHUP
      -> load beside the old one, in a thread -> swap, between two batches

Loading never blocks requests: each keeps the model that it began with. If a new file is refused for
any reason, the old model goes on serving.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import structlog

from teddy.service.errors import (
    ModelRefusedError,
    NotReadyError,
    NotReloadableError,
    UnknownModelError,
)
from teddy.service.inference.kept_models import KeptModels
from teddy.service.inference.model_files import (
    SHIPPED,
    Listing,
    Load,
    ModelFile,
    ModelFiles,
    Signature,
    load_unless,
)
from teddy.service.inference.rules_files import RulesFiles
from teddy.service.inference.served_model import ServedModel, public_reason
from teddy.service.observability.metrics import Metrics
from teddy.service.settings import Settings

__all__ = ["SHIPPED", "Load", "Models", "ServedModel"]

log = structlog.get_logger("service.models")


class Models:
    """The models by name; empty until `load` is done. Use it in one event loop.

    Files are loaded one at a time, so memory holds at most one model more than are served.
    """

    def __init__(self, settings: Settings, load: Load, metrics: Metrics) -> None:
        self._files = ModelFiles(settings)
        self._kept = KeptModels.of_environment()
        self._rules = RulesFiles(settings.rules, self._kept, metrics)
        self._poll_seconds = settings.reload_poll_seconds
        self._load = load
        self._metrics = metrics
        self.ready = False
        """Whether every model is loaded, the default model among them."""
        self._begun = False
        self._complete = asyncio.Event()
        self._waits_for: str | None = None
        self._refusal = ""
        self._named_default = settings.default_model or next(iter(settings.models), None)
        self._default: str | None = None
        self._names: list[str] = []
        self._passed_over: dict[str, str] = {}
        self._served: dict[str, ServedModel] = {}
        self._tried: dict[str, Signature | None] = {}
        """By name, the file that was loaded or refused last; not tried again until it changes."""
        self._fault: str | None = None
        self._changing = asyncio.Lock()
        self._asked: set[str] = set()

    def check_ready(self) -> None:
        """Raise NotReadyError while models are being loaded or waited for."""
        if not self.ready:
            waits = self._waits_for and f"Teddy waits for {self._waits_for}.{self._refusal}"
            raise NotReadyError(
                waits or "The models are still being loaded.", retry_after_seconds=1
            )

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

    async def load(self, on_waiting: Callable[[], None] = lambda: None) -> None:
        """Load all files, and serve them once all are loaded.

        A file that is refused is replaced by the one that another worker has kept. Without that, a
        file of the directory is skipped; while the default model is missing, `reload_all` is waited
        for, and `on_waiting` called before.

        Raises ModelFileError for a file that the settings name, and SettingsError if the directory
        cannot be read or a setting names a model that cannot come.
        """
        self._begun = True
        async with self._changing:
            listing = await self._look()
            if not self._kept.names():
                self._files.check(listing)
            for file in listing.files.values():
                try:
                    await asyncio.to_thread(self._kept.check, file)
                    await self._serve(file)
                except Exception as error:
                    if not (await self._serve_kept(file) or file.in_directory):
                        raise
                    self._refuse(file, error)
            if (
                listing.fault
                or not self._served
                or self._named_default not in (None, *self._served)
            ):
                for name in sorted(self._kept.names() - self._served.keys()):
                    await self._serve_kept(self._files.file_of(name, None))
            self._arrange(listing)
            await self._renew_rules()
        if not self.ready:
            named = self._named_default
            self._waits_for = f"model {named}" if named else "the first model in TEDDY_MODELS_DIR"
            log.warning("waiting for a model", model=named, directory=str(self._files.directory))
            on_waiting()
        await self._complete.wait()

    async def _serve_kept(self, file: ModelFile) -> bool:
        """Serve the last good file that a worker has kept, if there is one."""
        path = self._kept.path(file.name)
        if path is None:
            return False
        try:
            await self._serve(replace(file, path=path))
        except Exception as error:  # as in `_try`
            log.error("a kept model file was refused", model=file.name, exc_info=error)
            return False
        return True

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
        if not self._begun:
            return
        async with self._changing:
            listing = await self._look()
            for file in listing.files.values():
                if file.name not in self._tried or file.signature != self._tried[file.name]:
                    await self._try(file)
            self._arrange(listing)
            await self._renew_rules()

    async def _renew_rules(self) -> None:
        for name, model in self._served.items():
            self._served[name], _ = await self._rules.renew(model)

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
                if not refusal:
                    self._served[name], refusal = await self._rules.renew(self._served[name])
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
        for name in listing.passed_over.keys() - self._passed_over.keys():
            log.warning("a file is not served", file=name, reason=listing.passed_over[name])
        self._passed_over = dict(listing.passed_over)
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
        with self._kept.trying(file):
            predictor = await asyncio.to_thread(
                load_unless, self._load, file, old.version if old else None
            )
        if predictor is not None:
            predictor = await asyncio.to_thread(self._rules.attach, file.name, predictor)
            await asyncio.to_thread(self._kept.keep, file, predictor.version)
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
        self._refusal = f" The file of model {file.name} was refused: {reason}."
        kept = (
            f"version {old.version} goes on serving" if old else "nothing is served under this name"
        )
        refusal = ModelRefusedError(f"The file of model {file.name} was refused: {reason}; {kept}.")
        refusal.__cause__ = error
        return refusal

    def _arrange(self, listing: Listing) -> None:
        """Drop what has left the directory, and put the default model first.

        Nothing is dropped while the directory cannot be read, and never all models, nor the default
        model of the settings.
        """
        there = self._served.keys() & listing.files.keys()
        kept = set(self._served) if listing.fault or not there else there
        if self._named_default in self._served:
            kept.add(self._named_default)
        for name in self._served.keys() - kept:
            model = self._served[name]
            self._kept.forget(name)
            self._metrics.drop_model(name, model.version, model.predictor.precision)
            log.info("a model's file has left the directory", model=name, version=model.version)
        for name in self._tried.keys() - listing.files.keys():
            self._metrics.model_refused.labels(name).set(0)
        names = [
            name for name in dict.fromkeys([*listing.files, *sorted(self._served)]) if name in kept
        ]
        if names:
            default = self._choose_default(names)
            names.sort(key=lambda name: name != default)
            self.ready = self._named_default in (None, default)
        self._served = {name: self._served[name].as_default(name == names[0]) for name in names}
        if self.ready:
            self._complete.set()
        self._tried = {
            name: tried
            for name, tried in self._tried.items()
            if name in listing.files or name in kept
        }

    def _choose_default(self, names: list[str]) -> str:
        """Return the default model: that of the settings, the one that it was, or the first.

        What is chosen goes to the other workers, and the first that chooses decides.
        """
        if self._named_default in names:
            return self._named_default
        before = self._kept.default() or self._default
        default = before if before in names else names[0]
        if default != before:
            agreed = self._kept.agree_on_default(default, instead_of=before)
            default = agreed if agreed in names else default
        if self._default not in (None, default):
            log.warning("the default model is another now", model=default, previous=self._default)
        if len(names) > 1 and (default, names) != (self._default, self._names):
            log.warning("TEDDY_DEFAULT_MODEL is not set", default=default, models=names)
        self._default, self._names = default, [*names]
        return default

    def _unknown(self, name: str, gone: str = "") -> UnknownModelError | ModelRefusedError:
        if gone and name in self._served:
            return ModelRefusedError(f"Nothing to load for model {name}: its directory {gone}.")
        return UnknownModelError(
            f"There is no model {name[:64]!r} here; there are: {', '.join(self._served)}."
        )
