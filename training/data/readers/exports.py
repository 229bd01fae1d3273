"""Exports of annotation tools and assistants, brought to the shapes that are read.

A key of its records names each tool. Texts with spans get Teddy's shape; where several people may
have annotated a text, it gets that of Label Studio's tasks, so that `annotator` chooses.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.training.recipe.corpus_config import UNKNOWN

_SLOT = re.compile(r"\[\s*([^\[\]:]+?)\s*:\s*([^\[\]]+?)\s*\]")
Record = Mapping[str, Any]
_WITHOUT_TEXT = {
    "annotatable": ("tagtog", "it has no text: export the documents as JSON lines or brat"),
    "%FEATURE_STRUCTURES": ("UIMA's JSON", "export it from INCEpTION as WebAnno TSV 3"),
    "_referenced_fss": ("UIMA's JSON", "export it from INCEpTION as WebAnno TSV 3"),
    "projectFileVersion": (
        "Azure's labels",
        'their texts are in other files: put each with its labels into {"text": ..., "entities": '
        '[{"start", "end", "label"}]}',
    ),
    "labelSets": ("Datasaur's JSON", "export it as CoNLL 2003 or IOB"),
    "instances": ("SuperAnnotate", 'it has no text: put the text beside "instances" as "text"'),
    "textGcsUri": ("Google's JSON lines", 'the text is elsewhere: put it into "textContent"'),
    "source-ref": ("Ground Truth", 'the text is elsewhere: put it into "source"'),
}
"""Exports that are not read, by a key: whose they are, and the cure."""
_OF_LINES = tuple(
    (re.compile(pattern), whose, cure)
    for pattern, whose, cure in (
        (r"\d+\|[ta]\|", "PubTator", "get it as BioC's JSON, which is read"),
        (
            r'c=".*" \d+:\d+ \d+:\d+\|\|t=',
            "i2b2",
            "write a word of its text and a tag on each line",
        ),
        (r".*\[@[^\]]+#[^\]\s]+\*\]", "YEDDA", "write [Ada](PER) for [@Ada#PER*]"),
        (r"\(S(\s*$|\s.*\(\S+ \S+/)", "NLTK's trees", "write them with nltk.tree2conlltags"),
        (
            r"File,(Line,)?Begin Offset,",
            "Amazon Comprehend",
            "its texts are in other files: the manifest of Ground Truth, which has them, is read",
        ),
        (
            r"([^\s/]\S*/([A-Z]{1,5}\$?|[^\w\s]+)\s+)+[^\s/]\S*/([A-Z]{1,5}\$?|[^\w\s]+)\s*$",
            "words with their parts of speech",
            "want tags of entities, and O on other words",
        ),
    )
)
"""Text files that are not read, by how a line begins."""
_LONG = 1_000
"""The most characters of a line that the patterns see."""


def refuse_lines(path: Path, lines: Sequence[str]) -> None:
    """Raise DataError if lines are of a format that is known and not read."""
    for number, line in enumerate(lines, start=1):
        # The patterns take time that grows faster than the line.
        head = line if len(line) <= _LONG else line[:_LONG].rpartition(" ")[0]
        for pattern, whose, cure in _OF_LINES:
            if pattern.match(head):
                raise DataError(path, number, f"a file of {whose}, which is not read: {cure}")


def as_usual(path: Path, line: int, value: Any) -> Any:
    """Return a record of a tool as one that is read; other values as they are, null for no gold.

    Raises DataError for a record of a tool that is not read, or that lacks what it should have.
    """
    if not isinstance(value, dict):
        return value
    for key in value:
        if key in _WITHOUT_TEXT and not isinstance(_content(value), str | list):
            whose, cure = _WITHOUT_TEXT[key]
            raise DataError(path, line, f"an export of {whose}, which is not read: {cure}")
        if key in _TOOLS:
            try:
                found = _TOOLS[key](value)
            except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
                name = _TOOLS[key].__name__.strip("_")
                raise DataError(path, line, f"not a record of {name}: {problem}") from None
            if found is not value:
                return found
    return value


def _content(value: Record) -> Any:
    return value.get("text", value.get("tokens"))


def _text(text: str, spans: Iterator[dict[str, Any]]) -> Record:
    return {"text": text, "entities": [*spans]}


def _span(start: Any, length_or_end: Any, label: str, own: str | None = None) -> dict[str, Any]:
    """Return a span; Google writes numbers as texts, and leaves out 0."""
    span = {"start": int(start or 0), "end": int(length_or_end), "label": label}
    return span if own is None else span | {"text": own}


def _task(text: str, by: Mapping[str, Sequence[tuple[str, dict[str, Any]]]]) -> Record:
    """Return a task of Label Studio: spans by annotator, each with the name of its question."""
    done = [
        {
            "completed_by": who,
            "result": [
                {"from_name": name, "value": span | {"labels": [span["label"]]}}
                for name, span in spans
            ],
        }
        for who, spans in by.items()
    ]
    return {"data": {"text": text}, "annotations": done}


def _dataturks(value: Record) -> Record | None:
    """Read DataTurks, whose ends are the last character; null is a text without annotation."""
    if "content" not in value:
        return value
    if value["annotation"] is None:
        return None
    return _text(
        value["content"],
        (
            _span(point["start"], point["end"] + 1, label, point.get("text"))
            for each in value["annotation"]
            for point in each["points"]
            for label in each["label"]
        ),
    )


def _watson(value: Record) -> Record:
    if not all(isinstance(each, dict) and "location" in each for each in value["mentions"] or ()):
        return value
    places = ((*each["location"][:2], each["entity"]) for each in value["mentions"] or ())
    spans = (_span(start, end, label) for start, end, label in places)
    return _text(value["text"], spans)


def _vertex(value: Record) -> Record:
    listed = value.get("textSegmentAnnotations", ())
    places = ((each, each.get("textSegment", each)) for each in listed)
    return _text(
        value["textContent"],
        (
            _span(place.get("startOffset"), place["endOffset"], each["displayName"])
            for each, place in places
        ),
    )


def _automl(value: Record) -> Record:
    places = (
        (each["display_name"], each["text_extraction"]["text_segment"])
        for each in value.get("annotations", ())
    )
    return _text(
        value["text_snippet"]["content"],
        (_span(place.get("start_offset"), place["end_offset"], name) for name, place in places),
    )


def _ground_truth(value: Record) -> Record:
    jobs = [key for key in value if f"{key}-metadata" in value]
    if not jobs or "text" in value:
        return value
    if len(jobs) > 1:
        raise ValueError(f"want labels of one job, not of {', '.join(jobs)}")
    listed = value[jobs[0]]["annotations"]["entities"]
    spans = (_span(each["startOffset"], each["endOffset"], each["label"]) for each in listed)
    return _text(value["source"], spans)


def _lighttag(value: Record) -> Record:
    """Read LightTag: without what a reviewer has rejected, who is then the only annotator."""
    if "content" not in value or "annotations" not in value:
        return value
    listed = [(each, _of_lighttag(each)) for each in value["annotations"]]
    reviewed = any(each.get("correct") is not None for each, _ in listed)
    if reviewed:
        kept = [("tag", span) for each, span in listed if each.get("correct") is not False]
        return _task(value["content"], {"review": kept})
    by: dict[str, list[tuple[str, dict[str, Any]]]] = {
        str(who["annotator"]): [] for who in value.get("seen_by", [{"annotator": "?"}])
    }
    for each, span in listed:
        for who in each.get("annotated_by", ()):
            by.setdefault(str(who["annotator"]), []).append(("tag", span))
    return _task(value["content"], by)


def _of_lighttag(each: Record) -> dict[str, Any]:
    return _span(each["start"], each["end"], each["tag"], each.get("value"))


def _ubiai(value: Record) -> Record:
    if not isinstance(value.get("document"), str):
        return value
    return _text(
        value["document"],
        (
            _span(each["start"], each["end"], each["entityLabel"], each.get("text"))
            for each in value["tokens"]
        ),
    )


def _kili(value: Record) -> Record:
    """Read Kili, without predictions and labels that the same person has replaced."""
    labels = [value["latestLabel"]] if value.get("latestLabel") else value.get("labels") or []
    is_kili = all(isinstance(each, dict) and "jsonResponse" in each for each in labels)
    if not is_kili or not isinstance(value.get("content"), str):
        return value
    gold = [
        each
        for each in labels
        if each.get("labelType") in ("DEFAULT", "REVIEW", None)
        and each.get("isLatestLabelForUser", True)
    ]
    return _task(value["content"], {_author(each): [*_of_kili(each)] for each in gold})


def _author(label: Record) -> str:
    return str((label.get("author") or {}).get("email", "?"))


def _of_kili(label: Record) -> Iterator[tuple[str, dict[str, Any]]]:
    for job, answer in label["jsonResponse"].items():
        for each in answer.get("annotations", ()):
            if "beginOffset" in each:
                start, own = each["beginOffset"], each["content"]
                end = each.get("endOffset", start + len(own))
                yield from ((job, _span(start, end, c["name"], own)) for c in each["categories"])


def _labelbox(value: Record) -> Record:
    """Read Labelbox, whose ends are the last character."""
    by: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for project in value["projects"].values():
        for number, label in enumerate(project["labels"]):
            who = (label.get("label_details") or {}).get("created_by", str(number))
            for each in label["annotations"]["objects"]:
                place = each["location"]
                span = _span(place["start"], place["end"] + 1, each["name"], place.get("token"))
                by.setdefault(who, []).append(("objects", span))
            by.setdefault(who, [])
    return _task(value["data_row"]["row_data"], by)


def _bioc(value: Record) -> Record:
    """Read a passage of BioC, with the offsets of its document; entities in parts are unknown."""
    if not isinstance(value["offset"], int) or "annotations" not in value:
        return value
    spans = []
    for each in value["annotations"]:
        places = each["locations"]
        start = min(place["offset"] for place in places) - value["offset"]
        end = max(place["offset"] + place["length"] for place in places) - value["offset"]
        label, own = (each["infons"]["type"], each.get("text"))
        spans.append(_span(start, end, *((label, own) if len(places) == 1 else (UNKNOWN, None))))
    return _text(value.get("text", ""), iter(spans))


def _chunks(value: Record) -> Record:
    """Return what Snips and Dialogflow keep in pieces, each with its entity if it has one."""
    chunks = value["data"] if "data" in value else value["parts"]
    is_text = isinstance(chunks, list) and all(
        isinstance(each, dict) and "text" in each for each in chunks
    )
    if not is_text or "text" in value:
        return value
    text, spans = "", []
    for each in chunks:
        label = each.get("entity") or each.get("meta") or each.get("entityType")
        if label and label != "@sys.ignore":
            spans.append(_span(len(text), len(text) + len(each["text"]), label.lstrip("@")))
        text += each["text"]
    return _text(text, iter(spans))


def _massive(value: Record) -> Record:
    """Read MASSIVE, whose entities are `[city : new york]` in the text."""
    text, spans, at = "", [], 0
    for mark in _SLOT.finditer(value["annot_utt"]):
        text += value["annot_utt"][at : mark.start()]
        spans.append(_span(len(text), len(text) + len(mark[2]), mark[1]))
        text, at = text + mark[2], mark.end()
    return _text(text + value["annot_utt"][at:], iter(spans))


def _entities(value: Record) -> Record:
    """Return what GATE and LUIS keep under the usual name."""
    listed = value["entities"]
    if isinstance(listed, dict) and listed and "text" in value:
        every = [(label, each) for label, of_label in listed.items() for each in of_label]
        if all("indices" in each for _, each in every):
            places = ((*each["indices"][:2], label) for label, each in every)
            return _text(value["text"], (_span(start, end, label) for start, end, label in places))
    is_luis = isinstance(listed, list) and any("startPos" in e for e in listed if type(e) is dict)
    if not is_luis:
        return value
    spans = (_span(each["startPos"], each["endPos"] + 1, each["entity"]) for each in listed)
    return _text(value["text"], spans)


_TOOLS: dict[str, Callable[[Record], Record | None]] = {
    "annotation": _dataturks,
    "mentions": _watson,
    "textContent": _vertex,
    "text_snippet": _automl,
    "source": _ground_truth,
    "example_id": _lighttag,
    "documentName": _ubiai,
    "latestLabel": _kili,
    "externalId": _kili,
    "data_row": _labelbox,
    "offset": _bioc,
    "annot_utt": _massive,
    "parts": _chunks,
    "data": _chunks,
    "entities": _entities,
}
"""The tools, each by a key of its records."""
