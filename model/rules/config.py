"""A file of rules, `rules.toml`, as one typed value.

A key that it does not know, and a value out of range, are refused with the file and the line.
"""

import json
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from teddy.model.errors import RulesError
from teddy.model.system.toml import KeyPath, MisfitError, dotted, first_problem, line_of

Use = Literal["sure", "hint", "fill"]
Case = Literal["exact", "smart", "fold"]
Column = str | int
BuiltinKind = Literal[
    "email",
    "url",
    "ip",
    "mac",
    "phone",
    "iban",
    "credit_card",
    "national_id",
    "date",
    "time",
    "money",
    "version",
    "hashtag",
    "handle",
]


class _Table(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class ContextConfig(_Table):
    """Words near a match that change its score."""

    words: tuple[str, ...] = Field(min_length=1)
    """The words, in any case: one of them must stand near."""
    within: int = Field(default=5, ge=1, le=50)
    """How many words before and after the match are near."""
    score: float = Field(ge=0, le=1)
    """The score of the match then, higher or lower than without."""


class _Rule(_Table):
    name: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    """The name of the rule, which entities carry as their `source` and metrics as a label."""
    use: Use = "sure"
    """`sure`: a match is an entity, whatever the model says. `hint`: it raises the model's
    log-odds of an entity there. `fill`: it is an entity where nothing else is."""
    score: float | None = Field(default=None, gt=0, le=1)
    """The score of a match: 1, and 0.9 for a hint. A hint multiplies the odds by
    score / (1 - score), so that 0.5 changes nothing, and less lowers them."""
    context: tuple[ContextConfig, ...] = ()
    """What changes the score; the first that is near decides."""
    min_score: float = Field(default=0.0, ge=0, le=1)
    """Matches with a lower score are dropped."""

    @model_validator(mode="after")
    def _check_scores(self) -> Self:
        if self.use == "hint":
            if self.score == 1:
                raise MisfitError(("score",), 'a hint is below 1; use = "sure" is for certainty')
            for k, each in enumerate(self.context):
                if not 0 < each.score < 1:
                    place = "context", k, "score"
                    raise MisfitError(place, "that of a hint is between 0 and 1")
        return self

    @property
    def base_score(self) -> float:
        """The score without context."""
        return self.score if self.score is not None else 0.9 if self.use == "hint" else 1.0


class DictionaryConfig(_Rule):
    """A list of names, in a file or here; they match over whole words."""

    file: str = ""
    """A file beside this one: .txt (a name on each line), .csv or .tsv, .jsonl (objects, or spaCy's
    EntityRuler patterns); also packed as .gz, .bz2 or .xz."""
    entries: tuple[str, ...] = ()
    """Names, instead of a file."""
    label: str = ""
    """The label of the matches; the column `label_column` or spaCy's `label` otherwise."""
    column: Column = ""
    """The column of the name: its heading or, in a table without headings, its number from 1; the
    first if left out. In .jsonl its key; `text` or `name` if left out."""
    id_column: Column = ""
    """The column or key of the id in your catalogue, which entities carry as their `id`."""
    label_column: Column = ""
    """The column or key of the label."""
    case: Case = "exact"
    """`exact`: as written. `fold`: in any case. `smart`: in any case if the name is written in
    small letters throughout; otherwise as written or in capitals throughout."""
    endings: tuple[str, ...] = ()
    """Inflections: what a name's last word may have behind it, such as `s` or `en`."""
    min_length: int = Field(default=1, ge=1)
    """Names of fewer characters are passed over."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.file) == bool(self.entries):
            raise MisfitError(("file",), "give either file or entries")
        if self.entries and not self.label:
            raise MisfitError(("label",), "missing")
        if self.label and self.label_column:
            raise MisfitError(("label_column",), "give either label or label_column")
        if not all(self.endings):
            raise MisfitError(("endings",), "an ending has letters; a name matches without, too")
        return self


class PatternConfig(_Rule):
    """A regular expression in RE2's syntax, which takes time linear in the text."""

    pattern: str = Field(min_length=1)
    """The expression. If it has a group named `entity`, the match is that group."""
    label: str = Field(min_length=1)
    """The label of the matches."""
    case: Literal["exact", "fold"] = "exact"
    """`fold`: in any case."""


class BuiltinConfig(_Rule):
    """A kind of match that Teddy knows, with its check digits where it has some."""

    kind: BuiltinKind
    """The kind."""
    label: str = ""
    """The label of the matches; the kind in capitals if left out."""
    region: str = Field(default="", pattern="^([A-Z]{2})?$")
    """Of `phone`: the country, such as SE, whose numbers need no +46."""
    numbers: tuple[str, ...] = ()
    """Of `national_id`: which ones, as python-stdnum calls them, such as `se.personnummer`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.region and self.kind != "phone":
            raise MisfitError(("region",), 'is for kind = "phone"')
        if bool(self.numbers) != (self.kind == "national_id"):
            raise MisfitError(("numbers",), 'is for kind = "national_id", which needs it')
        return self


class NeverConfig(_Table):
    """What is never an entity: these very stretches; what is longer or shorter may be one."""

    name: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    """The name of the rule, for metrics."""
    entries: tuple[str, ...] = ()
    """Names."""
    file: str = ""
    """A file of names, as that of a dictionary."""
    pattern: str = ""
    """A regular expression, as that of a pattern."""
    labels: tuple[str, ...] = ()
    """The labels that the stretch never has; all if left out."""
    case: Case = "exact"
    """As that of a dictionary; of a pattern, `fold` or not."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(map(bool, (self.entries, self.file, self.pattern))) != 1:
            raise MisfitError(("entries",), "give one of entries, file and pattern")
        return self


RuleConfig = DictionaryConfig | PatternConfig | BuiltinConfig | NeverConfig


class RulesConfig(_Table):
    """All rules of a file."""

    language: str = ""
    """The language by which words are cut, such as `fr`, for rules without a model."""
    dictionary: tuple[DictionaryConfig, ...] = ()
    pattern: tuple[PatternConfig, ...] = ()
    builtin: tuple[BuiltinConfig, ...] = ()
    never: tuple[NeverConfig, ...] = ()

    def rules(self) -> "Iterator[tuple[str, int, RuleConfig]]":
        """Yield the table, the number in it, and each rule: dictionaries first, then as listed."""
        for table in ("dictionary", "pattern", "builtin", "never"):
            for number, rule in enumerate(getattr(self, table)):
                yield table, number, rule


class RulesFile:
    """A file of rules that was read: its values, and where they stand."""

    def __init__(self, path: Path, copy: Path | None = None) -> None:
        """Read it, or a copy. Raises RulesError, with the line, for a file that is refused."""
        self.path = path
        try:
            self.content = (copy or path).read_bytes()
            self._text = self.content.decode("utf-8-sig")
        except FileNotFoundError:
            raise RulesError(path, None, "no such file") from None
        except OSError as error:
            raise RulesError(path, None, f"cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            line = self.content.count(b"\n", 0, error.start) + 1
            raise RulesError(path, line, "not UTF-8") from None
        try:
            values: dict[str, Any] = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise RulesError(path, _line_in(str(error), self._text), f"not TOML: {error}") from None
        try:
            self.config = RulesConfig.model_validate_json(json.dumps(values, default=str))
        except ValidationError as error:
            location, reason = first_problem(error, RulesConfig)
            raise self.error(location, f"{dotted(location)}: {reason}") from None

    def error(self, location: KeyPath, reason: str) -> RulesError:
        """Return an error that names the line of a key."""
        return RulesError(self.path, line_of(location, self._text), reason)


def _line_in(message: str, text: str) -> int | None:
    """Return the line that a message of tomllib names; the last one for the end of the document."""
    _, _, place = message.rpartition("(at line ")
    number = place.partition(",")[0]
    if number.isdecimal():
        return int(number)
    return text.count("\n") + 1 if "at end of document" in message else None


def log_odds(score: float) -> float:
    """Return the weight of a hint with this score."""
    return math.log(score) - math.log1p(-score)
