"""Values in files of JSON: one a line, or in a list, which Python may have written."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.training.data.readers.files import read_text, stream_corpus_lines

_PYTHON = re.compile(r"[\w ]+=|\[?\s*\(")
"""How a list begins that Python has written."""
_LISTS = ("annotations", "data", "examples", "documents", "docs", "tasks", "items")
"""Where an object that is a whole file keeps its records."""


_PATHS = {
    ("rasa_nlu_data", "common_examples"): "entities",
    ("intents", "utterances"): "data",
    ("intents", "examples"): "mentions",
    ("utterances",): "entities",
    ("documents", "passages"): "annotations",
    ("passages",): "annotations",
}
"""Where the files of assistants, and of BioC, keep their texts, and the spans of each."""


def json_values(
    path: Path, encoding: str, keep: Callable[[int, str], bool] = lambda *_: True
) -> Iterator[tuple[int, Any]]:
    """Yield the records of a file with their lines: those of JSON lines, or of a list, or one.

    Lines are read in constant memory, and those whose number and text `keep` refuses are not
    parsed; a list is held as text. Raises DataError.
    """
    lines = ((n, line) for n, line in stream_corpus_lines(path, encoding) if line.strip())
    first = next(lines, None)
    if first is None:
        return
    if path.suffix == ".py":
        yield from _values_of_python(path, read_text(path, encoding))
        return
    try:
        value = json.loads(first[1])
    except (json.JSONDecodeError, RecursionError) as error:
        if _is_cut(first[1], error):
            yield from _values_of_a_whole(path, read_text(path, encoding))
            return
    else:
        if isinstance(value, list) and is_list_of_records(value):
            yield from _values_of_a_whole(path, read_text(path, encoding))
            return
        if isinstance(value, dict) and (wrapped := _wrapped(value)) is not None:
            yield from ((first[0], each) for each in wrapped)
            return
    for number, line in chain([first], lines):
        if not keep(number, line):
            continue
        try:
            yield number, json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(path, number, _not_json(error)) from None


def is_list_of_records(value: list[Any]) -> bool:
    """Whether a list is of records, and not itself the pair of spaCy 2."""
    return not (len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict))


def _is_cut(line: str, error: Exception) -> bool:
    """Whether JSON goes on behind the line, or Python's literals begin."""
    position = getattr(error, "pos", 0)
    return position >= len(line.rstrip()) - 1 or _PYTHON.match(line) is not None


def _not_json(error: Exception) -> str:
    place = f" at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
    problem = getattr(error, "msg", "nested too deeply")
    return f"not valid JSON: {problem}{place}"


def _values_of_a_whole(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Yield the records of a list, or of one in an object, each with the line where it begins."""
    decoder, space = json.JSONDecoder(), re.compile(r"[\s,]*")
    at = len(text) - len(text.lstrip())
    is_list = text[at : at + 1] == "["
    at, line, counted = at + is_list, 1, 0
    if _PYTHON.match(text[at - is_list :]):
        yield from _values_of_python(path, text)
        return
    while True:
        at = space.match(text, at).end()  # type: ignore[union-attr] # it may match nothing
        line, counted = line + text.count("\n", counted, at), at
        if text[at : at + 1] == "]" or (at >= len(text) and not is_list):
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise DataError(path, error.lineno, _not_json(error)) from None
        except RecursionError as error:
            raise DataError(path, line, _not_json(error)) from None
        wrapped = None if is_list or not isinstance(value, dict) else _wrapped(value)
        yield from ((line, each) for each in ([value] if wrapped is None else wrapped))


def _values_of_python(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Yield the records of a list as Python writes it, such as `TRAIN_DATA = [("...", {...})]`."""
    try:
        statements = ast.parse(text.strip(" ")).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line, why = getattr(error, "lineno", None), getattr(error, "msg", error)
        raise DataError(path, line, f"not a list of Python: {why}") from None
    values = (getattr(each, "value", None) for each in statements)
    lists = [each for each in values if isinstance(each, ast.List | ast.Tuple)]
    lists = [each for each in lists if any(map(_is_record, each.elts))]
    if len(lists) > 1:
        reason = f"a second list of records, after line {lists[0].lineno}; give each its own file"
        raise DataError(path, lists[1].lineno, reason)
    for element in lists[0].elts if lists else []:
        try:
            value = ast.literal_eval(element)
        except (ValueError, RecursionError, MemoryError):
            reason = "not a list of Python: want texts and numbers, without names or calls"
            raise DataError(path, element.lineno, reason) from None
        yield element.lineno, list(value) if isinstance(value, tuple) else value


def _is_record(element: ast.expr) -> bool:
    return isinstance(element, ast.Tuple | ast.List | ast.Dict)


def _within(value: dict[str, Any], path: Sequence[str]) -> list[dict[str, Any]]:
    """Return the objects at the end of a path; on its way, those of lists, and by name."""
    values: list[Any] = [value]
    for key in path:
        inner = [each.get(key) for each in values if isinstance(each, dict)]
        values = []
        for each in inner:
            if isinstance(each, dict) and key == "intents":
                values += each.values()
            else:
                values += each if isinstance(each, list) else [each]
    return [each for each in values if isinstance(each, dict)]


def _wrapped(value: dict[str, Any]) -> list[Any] | None:
    """Return the records that an object has, where it is not a record itself."""
    whole = ("text", "content", "tokens", "tokenized_text", "text_snippet", "labelSets")
    if any(isinstance(value.get(key), str | list | dict) for key in whole):
        return None
    for path, key in _PATHS.items():
        if inner := _within(value, path):
            return [each if key in each else each | {key: []} for each in inner]
    lists = (value.get(key) for key in _LISTS)
    of_records = (each for each in lists if each and isinstance(each, list))
    found = next((each for each in of_records if isinstance(each[0], dict | list)), None)
    is_task = isinstance(value.get("data"), dict | str)
    return None if is_task else found
