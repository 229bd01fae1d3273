"""What the records of each tool say: texts with spans of characters, tokens with spans or tags."""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.model.tags.spans import Scheme, Span
from teddy.training.data.readers.rows import Example, Row, clean_row, join_tokens, to_examples
from teddy.training.data.readers.units import Item, characters_of, unit_hint
from teddy.training.recipe.corpus_config import AUTO, FormatConfig

TEXT_KEYS = ("text", "data", "content", "sentence")
SPAN_KEYS = ("entities", "spans", "label", "labels", "annotations", "ents")
TOKEN_KEYS = ("tokens", "words")
TAG_KEYS = ("ner_tags", "ner", "tags", "labels", "label", "ner_labels")
_LABEL_KEYS = ("label", "labels", "type", "entity", "entity_group", "tag")
_LEAVE_EMPTY_OUT = {"annotation_id", "answer"}
"""Keys of JSON-MIN of Label Studio, and of Prodigy, which leave out what has no spans."""
NOT_GOLD = ("reject", "ignore")
"""Prodigy's answers that say that a record, or a span, is not gold."""

Parts = tuple[str, list[Item], Mapping[str, Any], Sequence[tuple[int, int]]]
"""Text, spans, what else the record says, and tokens."""


@dataclass(slots=True)
class Record:
    """A record of a file, as JSON has it; what cannot be read raises DataError with the line."""

    path: Path
    line: int
    value: Mapping[str, Any]
    options: FormatConfig
    document: int

    def text_parts(self) -> Parts:
        """Return a text with spans, as the record has them."""
        key = self.text_key()
        if key is None:
            raise self.refused(_no_text(self.value, self.options.token))
        span_key, listed = self.span_list()
        used = {key, span_key, "answer"}
        places = _token_places(self.value.get("tokens"))
        used |= {"tokens"} if places else set()
        items = [item for each in listed for item in self.items(each)]
        meta = {name: each for name, each in self.value.items() if name not in used}
        return self.value[key], items, meta, places

    def text_key(self) -> str | None:
        """Return the key of the text, if there is one."""
        stated = self.options.token
        if stated == AUTO and type(self.value.get("text")) is str:
            return "text"
        keys = (stated,) if isinstance(stated, str) and stated != AUTO else TEXT_KEYS
        return next((key for key in keys if isinstance(self.value.get(key), str)), None)

    def tokens(self) -> list[str] | None:
        """Return the tokens, if the record has any."""
        stated = self.options.token
        keys = (stated, *TOKEN_KEYS) if isinstance(stated, str) else TOKEN_KEYS
        lists = (self.value.get(key) for key in keys)
        of_text = (
            each
            for each in lists
            if isinstance(each, list) and all(isinstance(token, str) for token in each)
        )
        return next(of_text, None)

    def span_list(self) -> tuple[str, Sequence[Any]]:
        """Return the key of the spans, and the spans as the record has them."""
        stated, value = self.options.tag, self.value
        is_stated = isinstance(stated, str) and stated != AUTO
        names = [str(stated)] if is_stated else [key for key in SPAN_KEYS if key in value]
        names = names or [key for key in value if _is_span_list(value[key])]
        present = [key for key in names if _may_be_spans(value.get(key))]
        of_spans = [key for key in present if not _is_of_classes(value[key])]
        filled = [key for key in of_spans if value[key]]
        if len(filled) > 1 and any(value[key] != value[filled[0]] for key in filled):
            both = " and ".join(f'"{key}"' for key in filled[:2])
            raise self.refused(f'{both} have spans: say which with tag = "{filled[0]}"')
        found = next(iter([*filled, *of_spans]), None)
        if found is not None:
            return found, _listed(value[found])
        cure = "where there are none, give an empty list"
        if name := next((name for name in names if name in value), None):
            what = "has classes of the whole text" if name in present else "is not a list"
            given = json.dumps(value[name], ensure_ascii=False, default=str)[:40]
            want = 'want [{"start": 0, "end": 3, "label": "PER"}]'
            raise self.refused(f'"{name}" {what}: {given}; {want}; {cure}')
        if _LEAVE_EMPTY_OUT & value.keys():
            return "", []
        wanted = names[0] if is_stated else "entities"
        raise self.refused(f'no "{wanted}" beside the text, only {keys_of(value)}; {cure}')

    def items(self, raw: Any) -> Iterator[Item]:
        """Yield the spans of an item; of one with several labels, one for each."""
        own = None
        if isinstance(raw, list | tuple) and len(raw) >= 3:
            start, end, label = raw[:3]
        elif isinstance(raw, dict):
            if raw.get("answer") in NOT_GOLD:
                return
            start, end = (raw.get(key, raw.get(f"{key}_offset")) for key in ("start", "end"))
            label = next((raw[key] for key in _LABEL_KEYS if key in raw), None)
            own = raw.get("text", raw.get("word"))
        else:
            start = end = label = None
        labels = label if isinstance(label, list) else [label]
        for each in labels:
            name = self.tag_name(each) if type(each) is int else each
            if not (type(start) is int and type(end) is int and isinstance(name, str)):
                want = 'want {"start": 0, "end": 3, "label": "PER"} or [0, 3, "PER"]'
                raise self.refused(f"not a span: {json.dumps(raw, default=str)[:80]}; {want}")
            if not name.strip():
                raise self.refused(f"span {start} to {end} has an empty label")
            yield start, end, name, own if isinstance(own, str) else None

    def tag_name(self, number: int) -> str:
        """Return the tag, or label, that a number stands for."""
        names = self.options.tag_names
        if not 0 <= number < len(names):
            found = f"{len(names)} names are known" if names else "its name is not known"
            cure = 'name the numbers from 0 on: tag_names = ["O", "B-PER", "I-PER"]'
            raise self.refused(f"{number} stands for a tag, and {found}; {cure}")
        return names[number]

    def example(
        self,
        text: str,
        items: Sequence[Item],
        meta: Mapping[str, Any],
        tokens: Sequence[tuple[int, int]] = (),
    ) -> Example:
        """Return a text with spans whose offsets are in the unit of the file."""
        unit = self.options.offset_unit
        places: dict[int, int | None] | None = None
        if unit not in (AUTO, "character") and not text.isascii():
            places = characters_of(text, [*items, *tokens], unit)
            tokens = [(places[a] or 0, places[b] or len(text)) for a, b in tokens]
        spans = []
        for start, end, label, own in items:
            first = start if places is None else places[start]
            last = end if places is None else places[end]
            if first is None or last is None or not 0 <= first < last <= len(text):
                where = f"does not lie in a text of {len(text)} characters"
                raise self.refused(
                    f"span {start} to {end} ({label}) {where}{unit_hint(text, items)}"
                )
            if own is not None and text[first:last] != own:
                self.check_own_text(text, items, (first, last), own)
            spans.append(Span(first, last, label))
        return self._example(text, spans, tuple(tokens), meta, is_sentence=False)

    def check_own_text(
        self, text: str, items: Sequence[Item], place: tuple[int, int], own: str
    ) -> None:
        """Raise DataError if a span's own text is another than that at its offsets."""
        found = text[place[0] : place[1]]
        if _letters(found) != _letters(own.replace("\\n", " ")):
            says = f"is {found[:40]!r} in the text, but its own text says {own[:40]!r}"
            cure = unit_hint(text, items) or "; correct the offsets, which are half-open"
            raise self.refused(f"span {place[0]} to {place[1]} {says}{cure}")

    def of_tokens(
        self, tokens: Sequence[str], listed: Sequence[Any], *, last_is_in: bool
    ) -> Example:
        """Return a sentence of tokens with spans of tokens, which may name their last token."""
        starts, ends, text = join_tokens(tokens, self.options)
        spans = []
        for start, end, label, _ in (item for each in listed for item in self.items(each)):
            last = end if last_is_in else end - 1
            if not 0 <= start <= last < len(tokens):
                where = f"does not lie in a sentence of {len(tokens)} tokens"
                raise self.refused(f"span {start} to {end} ({label}) {where}")
            spans.append(Span(starts[start], ends[last], label))
        known = {"tokenized_text", "ner", *TOKEN_KEYS, *SPAN_KEYS}
        tokens_at = tuple(zip(starts, ends, strict=True))
        meta = {key: each for key, each in self.value.items() if key not in known}
        return self._example(text, spans, tokens_at, meta, is_sentence=True)

    def _example(
        self,
        text: str,
        spans: Sequence[Span],
        tokens: tuple[tuple[int, int], ...],
        meta: Mapping[str, Any],
        *,
        is_sentence: bool,
    ) -> Example:
        return Example(
            text=text,
            spans=tuple(spans),
            span_lines=(self.line,) * len(spans),
            path=str(self.path),
            line=self.line,
            is_sentence=is_sentence,
            document=self.document,
            tokens=tokens,
            meta=meta,
        )

    def of_tags(self) -> Iterator[Example]:
        """Yield a sentence of tokens with a tag each."""
        key, tokens = tags_key(self.value, self.options.tag), self.tokens()
        if key is None or tokens is None:
            raise self.refused(f"want tokens and a tag for each; it has {keys_of(self.value)}")
        tags = self.value[key]
        if len(tokens) != len(tags):
            raise self.refused(f'{len(tokens)} tokens, but {len(tags)} tags in "{key}"')
        used = {key, *TOKEN_KEYS}
        meta = {name: each for name, each in self.value.items() if name not in used}
        yield from self.of_pairs(zip(tokens, tags, strict=True), self.options, meta)

    def of_paragraphs(self) -> Iterator[Example]:
        """Yield the sentences of a document in the JSON that spaCy 2 trained on."""
        options = self.options.model_copy(update={"scheme": Scheme.BILUO, "spans": "tags"})
        try:
            for paragraph in self.value["paragraphs"]:
                for sentence in paragraph["sentences"]:
                    pairs = [(token["orth"], token["ner"]) for token in sentence["tokens"]]
                    yield from self.of_pairs(pairs, options, {})
        except (KeyError, TypeError) as error:
            want = "want paragraphs of sentences of tokens, each with orth and ner"
            raise self.refused(f"no {error} in a paragraph; {want}") from None

    def of_pairs(
        self,
        pairs: Iterable[tuple[str, Any]],
        options: FormatConfig,
        meta: Mapping[str, Any],
    ) -> Iterator[Example]:
        """Yield the sentence of tokens and tags, if it has any."""
        rows: list[Row] = []
        for token, tag in pairs:
            name = self.tag_name(tag) if isinstance(tag, int) else tag
            row = clean_row(self.path, self.line, token, name, options)
            rows += [row] if row else []
        for example in to_examples([rows] if rows else [], self.path, options):
            yield replace(example, document=self.document, meta=meta)

    def refused(self, reason: str) -> DataError:
        """Return the error of this record."""
        return DataError(self.path, self.line, reason)


def tags_key(value: Mapping[str, Any], stated: int | str) -> str | None:
    """Return the key of the tags, one for each token, of a record."""
    tokens = value.get("tokens", value.get("words"))
    if not isinstance(tokens, list):
        return None
    if isinstance(stated, str) and stated in value:
        return stated
    keys = (*TAG_KEYS, *(key for key in value if "ner" in key.split("_")))
    lists = {key: value[key] for key in keys if isinstance(value.get(key), list)}
    of_tags = [
        key for key, tags in lists.items() if all(isinstance(tag, str | int) for tag in tags)
    ]
    fitting = [key for key in of_tags if len(lists[key]) == len(tokens)]
    return next(iter([*fitting, *({"ner_tags", "tags"} & {*of_tags})]), None)


def _no_text(value: Mapping[str, Any], stated: int | str) -> str:
    """Return that a record has no text, and what it has."""
    wanted = stated if isinstance(stated, str) and stated != AUTO else "text"
    if wanted in value:
        given = json.dumps(value[wanted], ensure_ascii=False, default=str)[:40]
        return f'want an object with a "{wanted}" that is a text, not {given}'
    others = [key for key in value if isinstance(value[key], str)]
    longest = max(others, key=lambda key: len(value[key]), default="")
    cure = f'; if "{longest}" is the text, set token = "{longest}"' if longest else ""
    return f'want an object with a "{wanted}"; it has {keys_of(value)}{cure}'


def _letters(text: str) -> str:
    """Return what remains of a text where case, accents and white space do not count."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in plain if not each.isspace() and not unicodedata.combining(each))


def keys_of(value: Mapping[str, Any]) -> str:
    """Return the keys of an object, for an error."""
    return ", ".join(f'"{key}"' for key in list(value)[:8]) or "nothing"


def _is_span_list(value: Any) -> bool:
    """Whether this is what JSON-MIN of Label Studio has under the name of a control."""
    if not isinstance(value, list) or not value:
        return False
    return all(
        isinstance(each, dict) and {"start", "end"} <= each.keys() and {*_LABEL_KEYS} & each.keys()
        for each in value
    )


def _is_of_classes(value: Any) -> bool:
    """Whether a list is of classes of the whole text."""
    return bool(value) and isinstance(value, list) and all(isinstance(each, str) for each in value)


def _may_be_spans(value: Any) -> bool:
    is_by_label = isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())
    return isinstance(value, list) or (bool(value) and is_by_label) or _is_of_columns(value)


def _is_of_columns(value: Any) -> bool:
    """Whether spans are columns, as `datasets` keeps them: {"start": [0], "end": [3], ...}."""
    is_columns = isinstance(value, dict) and {"start", "end"} <= value.keys()
    return is_columns and len({len(e) if isinstance(e, list) else -1 for e in value.values()}) == 1


def _listed(value: Any) -> Sequence[Any]:
    """Return spans as a list; CLUENER has {label: {text: [[first, last], ...]}}."""
    if isinstance(value, list):
        return value
    if _is_of_columns(value):
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    return [
        {"start": place[0], "end": place[1] + 1, "label": label, "text": text}
        for label, texts in value.items()
        for text, places in texts.items()
        for place in places
    ]


def _token_places(tokens: Any) -> list[tuple[int, int]]:
    """Return the offsets of tokens in the manner of spaCy and Prodigy; none for other tokens."""
    if tokens and isinstance(tokens, list) and all(isinstance(each, dict) for each in tokens):
        places = [(each.get("start"), each.get("end")) for each in tokens]
        if all(isinstance(a, int) and isinstance(b, int) for a, b in places):
            return places
    return []
