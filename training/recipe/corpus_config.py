"""The `[[corpus]]` tables of a recipe: the files of a corpus, their format, and their labels."""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from teddy.model.system.toml import KeyPath, suggest
from teddy.model.tags.spans import Scheme
from teddy.model.text.offsets import OffsetUnit
from teddy.model.text.sentences import SentenceMode

OUTSIDE = "O"
"""As the target of a label in `map`: the span is not an entity."""
UNKNOWN = "?"
"""As the target of a label in `map`: any tag may be right on the words of the span."""

AUTO: Literal["auto"] = "auto"
"""As a value of `FormatConfig`: guessed from each file (see `teddy.training.data.guess`)."""
Auto = Literal["auto"]
FormatName = Literal[
    "auto",
    "conll",
    "conllu",
    "csv",
    "jsonl",
    "doccano",
    "prodigy",
    "label-studio",
    "argilla",
    "spacy",
    "gliner",
    "datasets",
    "brat",
    "webanno",
    "xml",
    "markdown",
    "docred",
]


class Table(BaseModel):
    """One table of a recipe: frozen, without conversions, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class FormatConfig(Table):
    """How the files of a corpus are read."""

    format: FormatName = AUTO
    """`conll`: a word a line, in columns. `conllu`: Universal Dependencies, or CoNLL-U Plus. `csv`:
    a table. `jsonl`, `doccano`, `prodigy`: texts with character spans. `label-studio`,
    `argilla`, `spacy`, `gliner`, `brat` (a folder), `webanno`: exports of these tools. `datasets`:
    tokens and tags of Hugging Face. `xml`, `markdown`: marks in the text. `docred`: the JSON of
    Re-DocRED."""
    encoding: str = "utf-8"
    """The encoding of the files, by a name that Python knows. A file that begins with the mark of
    UTF-16 is read as that."""
    separator: str = AUTO
    """The text between two columns (conll, csv). Empty: any run of spaces and tabs (conll), a comma
    (csv)."""
    token: int | str = AUTO
    """The column of the token: a number from the left, from 0, or from the right, from -1; where
    columns have names (csv, conllu, datasets), also a name. In JSON: the key of the text."""
    tag: int | str = AUTO
    """The column of the tag, given as `token` is. In JSON: the key of the spans. In Label Studio:
    the `from_name`. In webanno: `layer|feature`."""
    sentence: int | str = AUTO
    """The column that names the sentence (csv). A new value in it starts a new sentence. Empty:
    blank rows separate sentences."""
    row: Literal["auto", "word", "sentence"] = AUTO
    """What a row of a table (csv), or a line (conll), is: a word, or a sentence with all its tags,
    in conll with `separator` between each word and its tag: `Ada/B-PER ran/O`."""
    scheme: Scheme | Auto = AUTO
    """How tags spell spans: `io`, `iob1`, `bio` (IOB2), `bioes`, `bmes`, `biluo`, `bmewo`, `plain`
    (`PER` on each word) or `brackets` (`(PER*`)."""
    outside: tuple[str, ...] = ()
    """Tags to read as `O`."""
    tag_names: tuple[str, ...] = ()
    """The tags, or labels, that numbers in the files stand for, from 0."""
    annotator: str = ""
    """Whose annotations to read where several have annotated a text: the number or address in
    `completed_by` (label-studio), the `user_id` (argilla), or `first`."""
    offset_unit: OffsetUnit | Auto = AUTO
    """What offsets count: `character` (code points), `utf16` (JavaScript, Java) or `byte`
    (UTF-8)."""
    misaligned: Literal["trim", "expand", "contract", "drop", "refuse"] = "trim"
    """What becomes of a span that does not begin and end where words do. `trim`: white space at its
    edges is left out; it is an error when more than 5 % of the spans are lost all the same.
    `expand`, `contract`: to the nearest words around it, inside it. `drop`: its words are unknown,
    however many there are. `refuse`: an error."""
    ragged: bool | Auto = AUTO
    """Whether rows may differ in their number of columns. If not, a row unlike the first of its
    file is an error."""
    skip_empty_tokens: bool = False
    """Whether rows with an empty token and the tag `O` are left out. If not, they are an error."""
    comment: str = AUTO
    """The prefix of comment lines; empty: there are none. Lines such as `# text = ...` at the head
    of a sentence are comments in any case."""
    token_strip: str = ""
    """A regular expression. What it matches is removed from each token: `^en:` where tokens carry
    their language."""
    join: str = " "
    """The text between two tokens of a sentence; empty for Chinese."""
    keep_apart: bool = False
    """With an empty `join`: whether a space separates tokens that would run together into one word,
    as Latin words in Chinese."""
    spans: Literal["auto", "tags", "tokens", "values"] = AUTO
    """`tags`: the spans of the tags. `values`: each token whose value is not `O` or `_` is a span,
    as in parts of speech. `tokens`: each token is a span, to learn the borders of words."""
    token_label: str = "WORD"  # noqa: S105
    """The label of each span, where `spans` is `tokens`."""
    field: str = AUTO
    """The column of the tags or labels (conllu): `upos`, `xpos` or `deprel`, one key of a column,
    `feats:KEY` or `misc:KEY`, or a column that `global.columns` names."""

    @property
    def guessed(self) -> frozenset[str]:
        """The keys that are guessed from each file."""
        fields = FormatConfig.model_fields.items()
        return frozenset(
            key for key, field in fields if field.default == AUTO == getattr(self, key)
        )

    @property
    def tag_scheme(self) -> Scheme:
        """The scheme; BIO where it has not been guessed yet."""
        return Scheme.BIO if self.scheme == AUTO else self.scheme


class RuleConfig(Table):
    """A rule for spans, by their label and their text: another label, or other borders."""

    label: str = Field(min_length=1)
    """The label of the spans that the rule is for, or several with `|` between them. `O`: what is
    in no span, wherever `text` is found there."""
    text: str = ""
    """A regular expression that must match the whole text of the span. Empty: any text."""
    to: str = ""
    """The label that the span gets, or `O` or `?`, as in `map`; the other rules of this array are
    then not for it. Either this or `trim_start` or `trim_end` must be given."""
    trim_start: str = ""
    """A regular expression. What it matches at the start of the span, and white space behind, is
    left out of the span. The next rules see what is left."""
    trim_end: str = ""
    """A regular expression. What it matches at the end of the span, and white space before, is left
    out of the span."""
    about: str = ""
    """What the rule is for, in a few words, for `teddy check` and the model card."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the spans that the rule is for."""
        return tuple(self.label.split("|"))

    def __str__(self) -> str:
        """Return what the rule is for; where that is not stated, what it does."""
        if self.about:
            return self.about
        found = f"{self.label} {self.text!r}" if self.text else self.label
        trims = [
            f"without {pattern!r} {where}"
            for pattern, where in ((self.trim_start, "before"), (self.trim_end, "behind"))
            if pattern
        ]
        return f"{found}: {self.to or ' and '.join(trims)}"

    def contradictions(self, labels: Sequence[str]) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys that contradict others or the labels of the recipe, and why."""
        trims = self.trim_start or self.trim_end
        if not self.to and not trims:
            yield ("label",), "the rule changes nothing: give to, trim_start or trim_end"
        if self.to and trims:
            yield ("to",), "cannot stand beside trim_start or trim_end: make two rules of it"
        if OUTSIDE in self.labels and not (self.to and self.text):
            yield ("label",), f"{OUTSIDE!r} is for words in no span: give text and to"
        if self.to and self.to not in (*labels, OUTSIDE, UNKNOWN):
            yield ("to",), _no_target(self.to, labels)
        for key in ("text", "trim_start", "trim_end"):
            yield from _no_pattern((key,), getattr(self, key))


class CorpusConfig(FormatConfig):
    """One corpus: its files, its labels and how much it counts."""

    name: str = Field(min_length=1)
    """The name of the corpus, different from those of the others."""
    licence: str = Field(min_length=1)
    """The licence of the corpus. The model file and its card name it."""
    source: str = ""
    """Where the corpus comes from, and who is to be credited."""
    train: tuple[str, ...] = ()
    """The files to train on, relative to the data directory. Globs are allowed; `.xz`, `.gz` and
    `.bz2` are unpacked."""
    dev: tuple[str, ...] = ()
    """The files to measure on, given as `train` is."""
    map: dict[str, str] = {}
    """A label of the recipe for each label of the files, or `O` (not an entity) or `?` (any tag may
    be right)."""
    rules: tuple[RuleConfig, ...] = ()
    """Exceptions to `map`, by the labels of the files, in order: the first with `to` that matches
    a span decides. `rules` of the recipe come after them."""
    annotates: tuple[str, ...] | None = None
    """The labels that the corpus marks wherever they occur; by default all. A word without a mark
    may have any of the others."""
    sentences: SentenceMode = "document"
    """How documents are cut, where the format has texts: `document`, by their stops, lines and
    gaps; `lines`, each line is one sentence."""
    weight: float = Field(default=1.0, gt=0)
    """How often each training sentence is drawn in an epoch, on average; above 0."""
    holdout: float = Field(default=0.0, ge=0, lt=1)
    """The share, 0 to below 1, of the training documents, or sentences where the format has no
    documents, that are used as dev data instead, at even distances. For a corpus without `dev`."""
    balanced: bool = False
    """Whether `holdout` is chosen by labels: each in its share, on both sides even if it is rare,
    and equal texts on one side."""

    def annotated(self, labels: Sequence[str]) -> frozenset[str]:
        """Return the labels that this corpus annotates, given all labels of the recipe."""
        return frozenset(labels if self.annotates is None else self.annotates)

    def contradictions(self, labels: Sequence[str]) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys that contradict others or the labels of the recipe, and why."""
        if not self.train and not self.dev:
            yield ("train",), "the corpus has no files: give train, dev or both"
        if self.dev and self.holdout:
            yield ("holdout",), "cannot stand beside dev files"
        for label, target in self.map.items():
            if target not in (*labels, OUTSIDE, UNKNOWN):
                yield ("map", label), _no_target(target, labels)
        yield from rule_contradictions(self.rules, labels)
        for place, label in enumerate(self.annotates or ()):
            if label not in labels:
                yield ("annotates", place), f"{label!r} is not in labels{suggest(label, labels)}"
        yield from self._unreadable()

    def _unreadable(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys by which no file could be read."""
        for key, column in (("token", self.token), ("tag", self.tag)):
            if self.format == "conll" and isinstance(column, str) and column != AUTO:
                yield (key,), "must be a number: columns have no names in this format"
        if self.format == "csv" and len(self.separator) > 1 and self.separator != AUTO:
            yield ("separator",), "must be one character in a csv table"
        yield from _no_pattern(("token_strip",), self.token_strip)
        if not _is_text_encoding(self.encoding):
            yield ("encoding",), f"unknown encoding {self.encoding!r}"


def rule_contradictions(
    rules: Sequence[RuleConfig], labels: Sequence[str]
) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong in the rules of a table, each key with the place of its rule."""
    for place, rule in enumerate(rules):
        for location, reason in rule.contradictions(labels):
            yield ("rules", place, *location), reason


def _no_target(target: str, labels: Sequence[str]) -> str:
    known = f"labels, nor {OUTSIDE!r} or {UNKNOWN!r}"
    return f"{target!r} is not in {known}{suggest(target, labels)}"


def _no_pattern(location: KeyPath, pattern: str) -> Iterator[tuple[KeyPath, str]]:
    try:
        re.compile(pattern)
    except re.error as error:
        yield location, f"not a regular expression: {error}"


def _is_text_encoding(name: str) -> bool:
    try:
        "a".encode(name)
    except LookupError:  # also for codecs such as base64, which are not of text
        return False
    return True


def unfit_label(label: str) -> str:
    """Return why a text cannot be a label, and what to do; empty where it can."""
    if label in (OUTSIDE, UNKNOWN):
        return "it stands for no entity" if label == OUTSIDE else "it stands for any label"
    if not label:
        return "it is empty"
    if not re.fullmatch(r"\S+", label):
        other = "_".join(label.split())
        return f"it has white space; name it {other!r}, and map = {{ {label!r} = {other!r} }}"
    return ""
