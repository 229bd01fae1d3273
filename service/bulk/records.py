"""Records of a bulk input and their answers.

    text    a line                          -> {"line", "text", "entities"}
    jsonl   an object with a "text", a      -> the same object with "entities" added (or replaced)
            string or a list of words
    conll   a word a line, blank line ends  -> the same lines with a column of BIO tags added

(For rows of parquet see `parquet.py`.) A record that cannot be tagged has an answer too, so that
output and input stay side by side: in text and jsonl `{"id"?, "line", "error"}`, in columns the tag
`_` for each word. Bytes are decoded one record at a time, so that a bad line costs only itself.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypedDict

from teddy.model.errors import TextError
from teddy.model.tags.spans import Scheme, Span, write_tags
from teddy.model.text.words import Text, check_text, check_words

if TYPE_CHECKING:
    from teddy.model.tags.search import Threshold
    from teddy.model.text.documents import Entity

NOT_TAGGED = "_"
"""The tag of a word whose sentence could not be tagged."""
TEXT_FIELD = "text"
"""The default field of an object, or column of a row, that holds the text."""
DOCUMENT_START = b"-DOCSTART-"
SCORE_DIGITS = 4


class Format(StrEnum):
    """The format of an input."""

    TEXT = "text"
    JSONL = "jsonl"
    CONLL = "conll"
    PARQUET = "parquet"


class TagOptions(TypedDict, total=False):
    """What a tagger may be asked for."""

    threshold: "Threshold"


class TextTagger(Protocol):
    """The methods of a predictor that bulk tagging uses."""

    def tag(
        self, texts: Iterable[Text], *, threshold: "Threshold | None" = None
    ) -> "Sequence[list[Entity]]":
        """Return the entities of each text, in order."""
        ...

    def tag_sentences(
        self, sentences: Sequence[Sequence[str]], *, threshold: "Threshold | None" = None
    ) -> list[list[Span]]:
        """Return the spans, in words, of each sentence, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The choice of entities: of `labels` (None: all), with a score of at least `min_score`."""

    labels: frozenset[str] | None = None
    min_score: float = 0.0
    threshold: float | tuple[tuple[str, float], ...] | None = None
    """The probability from which on spans are taken, of all labels or by label."""

    @property
    def options(self) -> "TagOptions":
        """What to ask a tagger for."""
        if self.threshold is None:
            return {}
        by_label = self.threshold if isinstance(self.threshold, float) else dict(self.threshold)
        return {"threshold": by_label}

    def keeps_label(self, label: str) -> bool:
        """Return whether entities of this label are wanted."""
        return self.labels is None or label in self.labels

    def of(self, entities: "Iterable[Entity]") -> "list[Entity]":
        """Return the wanted entities, in order."""
        return [
            each
            for each in entities
            if self.keeps_label(each.label) and each.score >= self.min_score
        ]


@dataclass(frozen=True, slots=True)
class Record:
    """The raw lines of one record, and the number (from 1) of the first."""

    line: int
    lines: tuple[bytes, ...]

    @property
    def n_bytes(self) -> int:
        """The size of the record in the input."""
        return sum(map(len, self.lines))


@dataclass(frozen=True, slots=True)
class Answer:
    """The output for one record.

    `error` is the reason why it could not be tagged, else empty. `name` is its `line`, and its `id`
    if it has one.
    """

    data: bytes
    n_entities: int = 0
    error: str = ""
    n_words: int = 0
    """The number of words between blanks, for a rate; the tagger may count others."""
    name: dict[str, object] = field(default_factory=dict)


def entity_fields(entity: "Entity") -> dict[str, object]:
    """Return an entity for JSON; with `source` and `id` where rules are in force."""
    fields: dict[str, object] = {
        "start": entity.start,
        "end": entity.end,
        "label": entity.label,
        "score": round(entity.score, SCORE_DIGITS),
        "text": entity.text,
    }
    if entity.source is not None:
        fields["source"] = entity.source
    if entity.id is not None:
        fields["id"] = entity.id
    return fields


def ends_record(line: bytes, form: Format) -> bool:
    """Return whether a record ends with this line: always, but in columns at a blank one."""
    return form is not Format.CONLL or not line.strip()


def answer_records(
    records: Sequence[Record],
    form: Format,
    tagger: TextTagger,
    selection: Selection,
    text_field: str = TEXT_FIELD,
) -> list[Answer]:
    """Tag records together, and return an answer for each, in order."""
    if form is Format.CONLL:
        return _answer_columns(records, tagger, selection)
    if form is Format.TEXT:
        texts = [_read_text(record) for record in records]
        return _answer_objects(texts, tagger, selection, TEXT_FIELD)
    objects = [_read_object(record, text_field) for record in records]
    return _answer_objects(objects, tagger, selection, text_field)


def _answer_objects(
    objects: Sequence[dict[str, object] | Answer],
    tagger: TextTagger,
    selection: Selection,
    text_field: str,
) -> list[Answer]:
    """Tag the text of each object; answers stay as they are."""
    texts: list[Any] = [each[text_field] for each in objects if isinstance(each, dict)]
    found = iter(zip(texts, tagger.tag(texts, **selection.options), strict=True))
    answers: list[Answer] = []
    for each in objects:
        if isinstance(each, Answer):
            answers.append(each)
            continue
        text, all_entities = next(found)
        entities = selection.of(all_entities)
        fields = each | {"entities": [entity_fields(entity) for entity in entities]}
        n_words = len(text.split() if isinstance(text, str) else text)
        answers.append(Answer(json_line(fields), len(entities), n_words=n_words))
    return answers


def _read_text(record: Record) -> dict[str, object] | Answer:
    try:
        text = _decode(record.lines[0], record.line).rstrip("\n").removesuffix("\r")
        return {"line": record.line, "text": text}
    except ValueError as error:
        return _refused({"line": record.line}, str(error))


def _read_object(record: Record, text_field: str) -> dict[str, object] | Answer:
    """Read a line of JSON; a blank line has an empty answer."""
    fields: dict[str, object] = {"line": record.line}
    try:
        line = _decode(record.lines[0], record.line)
        if not line.strip():
            return Answer(b"")
        value = json.loads(line, parse_constant=_refuse_constant)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        if "id" in value:
            fields = {"id": value["id"]} | fields
        check_field(value.get(text_field), text_field)
        return value
    except json.JSONDecodeError as error:
        return _refused(fields, f"not JSON: {error.msg} at character {error.pos}")
    except RecursionError:
        return _refused(fields, "not JSON: nested too deep")
    except (ValueError, TextError) as error:
        return _refused(fields, str(error))


def check_field(text: object, name: str) -> None:
    """Raise ValueError or TextError for what is neither a text nor a list of words."""
    if isinstance(text, str):
        check_text(text)
    elif isinstance(text, list) and all(isinstance(word, str) for word in text):
        check_words(text)
    else:
        raise ValueError(f"no {json.dumps(name)} that is a string or a list of words")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name} is not a number that JSON has")


def _refused(fields: dict[str, object], reason: str) -> Answer:
    return Answer(json_line(fields | {"error": reason}), error=reason, name=fields)


def json_line(fields: dict[str, object]) -> bytes:
    """Return an object as a line of JSON in UTF-8."""
    try:
        return (json.dumps(fields, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a lone surrogate in a field that is passed on
        return (json.dumps(fields) + "\n").encode()


def _answer_columns(
    records: Sequence[Record], tagger: TextTagger, selection: Selection
) -> list[Answer]:
    readings = [_read_words(record) for record in records]
    sentences = [words for words in readings if isinstance(words, list) and words]
    found = iter(tagger.tag_sentences(sentences, **selection.options))
    answers = []
    for record, words in zip(records, readings, strict=True):
        if isinstance(words, Answer):
            answers.append(words)
            continue
        spans = [span for span in next(found) if selection.keeps_label(span.label)] if words else []
        data = _add_column(record, write_tags(spans, len(words), Scheme.BIO))
        answers.append(Answer(data, len(spans), n_words=len(words)))
    return answers


def _read_words(record: Record) -> list[str] | Answer:
    """Return the words of a sentence, without comments and marks between documents."""
    try:
        return [_read_word(line, record.line + k) for k, line in _word_lines(record)]
    except ValueError as error:
        return Answer(_add_column(record, None), error=str(error), name={"line": record.line})


def _word_lines(record: Record) -> list[tuple[int, bytes]]:
    """Return the position and content of each line with a word.

    Before the first word, a line that begins with `# ` is a comment, as in CoNLL-U.
    """
    found: list[tuple[int, bytes]] = []
    for k, line in enumerate(record.lines):
        comment = line.startswith(b"# ") and not found
        if line.strip() and not comment and not line.startswith(DOCUMENT_START):
            found.append((k, line))
    return found


def _read_word(line: bytes, number: int) -> str:
    """Return the first column: up to a tab or, without tabs, up to a space."""
    bare = line.rstrip(b"\r\n")
    word = _decode(bare.split(b"\t")[0] if b"\t" in bare else bare.split()[0], number)
    if not word.strip(" "):
        raise ValueError(f"line {number}: the first column is empty")
    return word


def _add_column(record: Record, tags: Sequence[str] | None) -> bytes:
    """Append a tag to each line with a word (None: `_`), and keep every other byte."""
    places = [k for k, _ in _word_lines(record)]
    added = dict(zip(places, tags or [NOT_TAGGED] * len(places), strict=True))
    added |= {k: "O" for k, line in enumerate(record.lines) if line.startswith(DOCUMENT_START)}
    return b"".join(
        _append(line, added[k]) if k in added else line for k, line in enumerate(record.lines)
    )


def _append(line: bytes, tag: str) -> bytes:
    """Append a column to a line, after a tab if it has one, else after a space."""
    bare = line.rstrip(b"\r\n")
    return bare + (b"\t" if b"\t" in bare else b" ") + tag.encode() + line[len(bare) :]


def _decode(data: bytes, line: int) -> str:
    """Decode UTF-8, without a byte order mark on the first line."""
    try:
        return data.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at byte {error.start} of the line"
        raise ValueError(f"not UTF-8: {byte}") from None
