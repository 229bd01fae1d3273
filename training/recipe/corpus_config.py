"""The `[[corpus]]` tables of a recipe: the files of a corpus, their format, and their labels."""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from teddy.model.tags.spans import Scheme
from teddy.training.recipe.reading import KeyPath, suggest

OUTSIDE = "O"
"""As the target of a label in `map`: the span is not an entity."""
UNKNOWN = "?"
"""As the target of a label in `map`: nothing is known about the words of the span; any tag may be
right there."""


FormatName = Literal["conll", "jsonl", "conllu", "csv", "docred"]


class Table(BaseModel):
    """One table of a recipe: frozen, without conversions, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class FormatConfig(Table):
    """How the files of a corpus are read."""

    format: FormatName = "conll"
    """`conll` columns, `jsonl` with character spans, `conllu`, a `csv` table of words, or
    Re-DocRED's JSON."""
    encoding: str = "utf-8"
    separator: str = ""
    """What stands between columns (conll, csv). Empty: any run of spaces and tabs (conll), a comma
    (csv)."""
    token: int | str = 0
    """Column of the token: a number from the left, or negative from the right; in csv also a
    name."""
    tag: int | str = -1
    """Column of the tag, as `token`."""
    sentence: int | str = 0
    """Column that starts a new sentence wherever it is filled with a new value (csv)."""
    scheme: Scheme = Scheme.BIO
    """How tags write spans: `io`, `iob1`, `bio` (IOB2), `bioes` or `bmes`."""
    outside: tuple[str, ...] = ()
    """Tags that are read as `O`."""
    ragged: bool = False
    """Rows may have different numbers of columns. Otherwise a row unlike the first of its file is
    an error."""
    skip_empty_tokens: bool = False
    """Leave out rows tagged `O` whose token is empty, as in tweets that had an invisible character;
    else an error."""
    comment: str = ""
    """A prefix of comment lines. Lines such as `# text = ...` at the head of a sentence are
    comments in any case."""
    token_strip: str = ""
    """A regular expression; what it matches is removed from each token (`^en:` where tokens carry
    their language)."""
    join: str = " "
    """What stands between the tokens of a sentence in its text; empty for Chinese."""
    keep_apart: bool = False
    """With an empty `join`: put a space between tokens that would run together into one word (Latin
    in Chinese)."""
    spans: Literal["tags", "tokens"] = "tags"
    """`tags`: spans are what the tags say. `tokens`: each token is a span, to learn the borders of
    words."""
    token_label: str = "WORD"  # noqa: S105
    """The label of those spans."""
    field: str = "upos"
    """What labels a word (conllu): `upos`, `xpos`, `deprel`, or `feats:KEY` or `misc:KEY` for one
    key of a column."""


class RuleConfig(Table):
    """An exception to `map`, by the text of the span, for what a corpus annotates otherwise."""

    label: str
    """A label of the files."""
    text: str
    """A regular expression that the whole text of the span matches."""
    to: str
    """As a target in `map`."""


class CorpusConfig(FormatConfig):
    """One corpus: its files, its labels and how much it counts."""

    name: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    """The licence, which the model file and its card name."""
    source: str = ""
    """The origin of the corpus, and whom to credit."""
    train: tuple[str, ...] = ()
    """Files, relative to the data directory; globs are allowed, and `.xz`, `.gz` and `.bz2` are
    unpacked."""
    dev: tuple[str, ...] = ()
    map: dict[str, str] = {}
    """From a label of the files to a label of the recipe, to `O` (not an entity) or to `?` (any tag
    may be right)."""
    rules: tuple[RuleConfig, ...] = ()
    """Exceptions to `map`; the first that matches a span decides."""
    annotates: tuple[str, ...] | None = None
    """Labels whose absence means something here; by default all. Of the others, an unmarked word
    may have any."""
    weight: float = Field(default=1.0, gt=0)
    """How often its sentences are drawn, relative to once an epoch."""
    holdout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training documents (jsonl, docred) or sentences (other formats) that are dev
    instead, at even distances; for a corpus without dev files."""

    def annotated(self, labels: Sequence[str]) -> frozenset[str]:
        """Return the labels that this corpus annotates, given all labels of the recipe."""
        return frozenset(labels if self.annotates is None else self.annotates)

    def contradictions(self, labels: Sequence[str]) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys that contradict others or the labels of the recipe, and why."""
        if not self.train and not self.dev:
            yield ("train",), "the corpus has no files: give train, dev or both"
        if self.dev and self.holdout:
            yield ("holdout",), "cannot stand beside dev files"
        targets: list[tuple[KeyPath, str]] = [
            (("map", label), target) for label, target in self.map.items()
        ]
        targets += [(("rules", place, "to"), rule.to) for place, rule in enumerate(self.rules)]
        for location, target in targets:
            if target not in (*labels, OUTSIDE, UNKNOWN):
                known = f"labels, nor {OUTSIDE!r} or {UNKNOWN!r}"
                reason = f"{target!r} is not in {known}{suggest(target, labels)}"
                yield location, reason
        for place, label in enumerate(self.annotates or ()):
            if label not in labels:
                yield ("annotates", place), f"{label!r} is not in labels{suggest(label, labels)}"
        yield from self._unreadable()

    def _unreadable(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys by which no file could be read."""
        for key, column in (("token", self.token), ("tag", self.tag)):
            if self.format == "conll" and isinstance(column, str):
                yield (key,), "must be a number: columns have no names in this format"
        if self.format == "csv" and len(self.separator) > 1:
            yield ("separator",), "must be one character in a csv table"
        patterns: list[tuple[KeyPath, str]] = [(("token_strip",), self.token_strip)]
        patterns += [(("rules", place, "text"), rule.text) for place, rule in enumerate(self.rules)]
        for location, pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                yield location, f"not a regular expression: {error}"
        if not _is_text_encoding(self.encoding):
            yield ("encoding",), f"unknown encoding {self.encoding!r}"


def _is_text_encoding(name: str) -> bool:
    try:
        "a".encode(name)
    except LookupError:  # also for codecs such as base64, which are not of text
        return False
    return True
