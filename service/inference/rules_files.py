"""Files of rules beside the models: read, followed, and kept while a new one is bad.

A file is read once for all models whose tokenisers are equal.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import BaseModel, Field

from teddy.model.errors import FileError
from teddy.service.errors import ModelRefusedError
from teddy.service.inference.kept_models import KeptModels
from teddy.service.inference.model_files import Signature, signature_of
from teddy.service.inference.served_model import ServedModel, public_reason
from teddy.service.observability.metrics import Metrics
from teddy.service.schemas import ModelReference

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.model.rules.rules import Rules
    from teddy.model.text.words import Tokeniser

Signatures = dict[Path, Signature | None]
log = structlog.get_logger("service.models")


class RulesFiles:
    """The files of rules in the settings: by the name of a model, or by no name for all others.

    Not for two tasks at once: `Models` changes one model at a time.
    """

    def __init__(self, files: Mapping[str, Path], kept: KeptModels, metrics: Metrics) -> None:
        self._files = files
        self._kept = kept
        self._metrics = metrics
        self._read: dict[tuple[Path, Tokeniser], tuple[Signatures, Rules]] = {}
        """The last rules of each file that were good, and the files that they were read from."""
        self._refused: dict[str, Signatures] = {}
        """By model, the files that were refused last: not tried again until they change."""

    def attach(self, name: str, predictor: "Predictor") -> "Predictor":
        """Return a model that was loaded with its rules, if it has a file of them.

        If that file is bad now, the last good one is taken, also that of a worker before; `renew`
        tells of it. Raises RulesError and MissingExtraError where there has been none.
        """
        if predictor.rules is not None:  # they are all that it is
            self._note(predictor.rules, predictor, {})
            self._metrics.serve_rules(name, predictor.rules)
            return predictor
        path = self._path(name, predictor)
        if path is None:
            return predictor
        known = self._read.get((path, predictor.tokeniser))
        ruled = predictor.with_rules(known[1] if known else self._first(path, predictor))
        if ruled.rules:
            self._metrics.serve_rules(name, ruled.rules)
        return ruled

    def _first(self, path: Path, predictor: "Predictor") -> "Rules":
        """Read a file for the first time, or the copy that is kept of a good one."""
        from teddy.model.rules.loading import load_rules

        try:
            return self._load(path, predictor, {})
        except Exception:  # as in `renew`
            with self._kept.rules_copies(path) as copies:
                if copies is None:
                    raise
                rules = load_rules(path, predictor.tokeniser, copies=copies)
        predictor.with_rules(rules)
        # Signatures that no file has, so that `renew` looks at the bad file.
        self._read[path, predictor.tokeniser] = dict.fromkeys(rules.paths, ()), rules
        return rules

    async def renew(self, model: ServedModel) -> tuple[ServedModel, ModelRefusedError | None]:
        """Return a model with its rules as they are now; if they are refused, the old ones stay."""
        try:
            predictor = await asyncio.to_thread(self._renewed, model.name, model.predictor)
        except Exception as error:  # a file can be wrong in more ways than can be listed
            reason = public_reason(error)
            self._metrics.reload(model.name, "refused")
            log.error("rules were refused", model=model.name, reason=reason)
            said = f"The rules of model {model.name} were refused: {reason}; the old ones stay."
            return replace(model, rules_refused=reason), ModelRefusedError(said)
        if predictor is None or predictor.rules is None:
            return model, None
        self._metrics.serve_rules(model.name, predictor.rules)
        self._metrics.reload(model.name, "changed")
        log.info("rules in force", model=model.name, rules=predictor.rules.version)
        return replace(model, predictor=predictor, rules_refused=None), None

    def _renewed(self, name: str, predictor: "Predictor") -> "Predictor | None":
        """Return a model with other rules; None if they have not changed.

        Raises RulesError, once for each state of the files.
        """
        path = self._path(name, predictor)
        if path is None:
            return None
        seen, rules = self._read[path, predictor.tokeniser]
        now = _signatures([*seen, *self._refused.get(name, ())])
        if self._refused.get(name) == now:
            return None
        if name not in self._refused and now == seen:
            return None if rules is predictor.rules else predictor.with_rules(rules)
        try:
            renewed = predictor.with_rules(self._load(path, predictor, now))
        except Exception as error:
            # a dictionary may be to blame that the old rules did not have
            blamed = [Path(error.path)] if isinstance(error, FileError) else []
            self._refused[name] = _signatures(blamed) | now
            raise
        self._refused.pop(name, None)
        return renewed

    def _path(self, name: str, predictor: "Predictor") -> Path | None:
        """Return the file of a model's rules: its own, if it is nothing but rules."""
        if predictor.rules is not None and predictor.path == predictor.rules.path.absolute():
            return predictor.rules.path
        return self._files.get(name, self._files.get(""))

    def _load(self, path: Path, predictor: "Predictor", before: Signatures) -> "Rules":
        """Read a file, and keep its rules if the model can take them.

        `before` are signatures that were taken before: what changes meanwhile is noticed later.
        """
        from teddy.model.rules.loading import load_rules

        before = _signatures([path]) | before
        rules = load_rules(path, predictor.tokeniser)
        predictor.with_rules(rules)
        self._note(rules, predictor, before)
        return rules

    def _note(self, rules: "Rules", predictor: "Predictor", before: Signatures) -> None:
        signatures = {each: before.get(each) or signature_of(each) for each in rules.paths}
        self._read[rules.path, predictor.tokeniser] = signatures, rules
        self._kept.keep_rules(rules.paths, rules.version)


def _signatures(paths: "list[Path]") -> Signatures:
    return {path: signature_of(path) for path in paths}


class RuleOut(BaseModel):
    """A rule of a file of rules."""

    name: str = Field(description="The `source` of its entities, and the label of its metrics.")
    kind: str = Field(description="Its table: `dictionary`, `pattern`, `builtin` or `never`.")
    use: str | None = Field(
        default=None, description="`sure`, `hint` or `fill`; left out for what is never an entity."
    )
    labels: list[str]
    entries: int | None = Field(default=None, description="The number of names of a dictionary.")


class RulesResponse(BaseModel):
    """The rules that are in force beside a model; none without a file of rules."""

    model: ModelReference
    version: str | None = Field(
        default=None, description="It changes with every byte of the file, and of its dictionaries."
    )
    refused: str | None = Field(
        default=None,
        description="Why the newest file was refused, if it was: the one before is in force.",
    )
    rules: list[RuleOut]


def rules_of(model: ServedModel) -> RulesResponse:
    """Return the rules that are in force beside a model."""
    rules = model.predictor.rules
    return RulesResponse(
        model=model.reference,
        version=rules.version if rules else None,
        refused=model.rules_refused,
        rules=[
            RuleOut(
                name=rule.name,
                kind=rule.kind,
                use=rule.use,
                labels=list(rule.labels),
                entries=rule.n_entries,
            )
            for rule in (rules.rules if rules else ())
        ],
    )
