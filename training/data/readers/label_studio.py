"""The tasks of Label Studio: a text, and the regions that each annotator has marked.

Records of Argilla are read as the tasks that they would be there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from teddy.training.data.readers.shapes import TEXT_KEYS, Parts, Record, keys_of
from teddy.training.recipe.corpus_config import AUTO


def task_parts(record: Record) -> Parts | None:
    """Return a task of Label Studio as one annotator has marked it; None if none has."""
    data = record.value["data"]
    stated = record.options.token
    texts = [key for key in (stated, *TEXT_KEYS) if isinstance(data.get(key), str)]
    others = [key for key in data if isinstance(data[key], str)]
    texts += sorted(others, key=lambda key: -len(data[key]))  # a title is shorter than its text
    if not texts:
        raise record.refused(f'no text in "data", only {keys_of(data)}')
    listed = record.value.get("annotations", record.value.get("completions")) or []
    done = [each for each in listed if not each.get("was_cancelled")]
    regions = [_regions(record, each) for each in done]
    chosen = _chosen(record, done, regions)
    if chosen is None:
        return None
    items = [item for each in regions[chosen] for item in record.items(each)]
    return data[texts[0]], items, {k: v for k, v in data.items() if k != texts[0]}, []


_OF_FIRST = ("label", "start", "end")
RESPONSES = ".responses"
"""The end of the columns of responses in a row of Argilla."""


def is_argilla(value: Mapping[str, Any]) -> bool:
    """Return whether this is a record of Argilla.

    It is nested as in its JSON, flat as in a row, or of version 1.
    """
    if {"annotation", "prediction"} <= value.keys():
        return True
    is_nested = isinstance(value.get("fields"), dict) and isinstance(value.get("responses"), dict)
    return is_nested or any(key.endswith(RESPONSES) for key in value)


def as_task(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of Argilla as a task: an annotation for each user who has submitted one.

    Its JSON does not say whether a response was submitted, its rows do. Questions that are not
    about spans are left out.
    """
    if "annotation" in value:
        return _task_of_first(value)
    data, answers = value.get("fields"), value.get("responses")
    if not isinstance(data, dict) or not isinstance(answers, dict):
        flat = {key: each for key, each in value.items() if "." not in key and key != "_server_id"}
        data, answers = flat, dict(_answers_of_row(value))
    by_user: dict[str, list[Any]] = {}
    for question, listed in answers.items():
        for each in listed:
            spans = each["value"]
            if not isinstance(spans, list) or not all(map(_has_ends, spans)):
                continue
            by_user.setdefault(each["user_id"], []).extend(
                {"from_name": question, "value": span | {"labels": [span.get("label")]}}
                for span in spans
            )
    done = [{"completed_by": user, "result": spans} for user, spans in by_user.items()]
    return {"data": data | (value.get("metadata") or {}), "annotations": done}


def _task_of_first(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of Argilla 1; one that was discarded, or only predicted, is not annotated."""
    result: list[dict[str, Any]] = []
    listed = value["annotation"]
    for each in listed if isinstance(listed, list) else [listed] if listed else ():
        span = each if isinstance(each, dict) else dict(zip(_OF_FIRST, each, strict=False))
        result.append({"from_name": "annotation", "value": span | {"labels": [span.get("label")]}})
    is_gold = listed is not None and value.get("status") != "Discarded"
    done = [{"completed_by": value.get("annotation_agent"), "result": result}] if is_gold else []
    return {"data": {"text": value.get("text")}, "annotations": done}


def _answers_of_row(row: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for key, values in row.items():
        if key.endswith(RESPONSES) and values is not None:
            users, states = row[f"{key}.users"], row[f"{key}.status"]
            yield (
                key.removesuffix(RESPONSES),
                [
                    {"value": value, "user_id": user}
                    for value, user, state in zip(values, users, states, strict=True)
                    if state == "submitted"
                ],
            )


def _has_ends(span: Any) -> bool:
    return isinstance(span, dict) and {"start", "end", "label"} <= span.keys()


def is_annotated(record: Mapping[str, Any], annotator: str) -> bool:
    """Return whether a record of JSON-MIN, which is one annotation, was made by this annotator."""
    if "annotation_id" not in record:
        return True
    is_wanted = annotator in ("", "first", str(record.get("annotator")))
    return record["annotation_id"] is not None and is_wanted


def _regions(record: Record, annotation: Mapping[str, Any]) -> list[Any]:
    """Return the labelled stretches of an annotation, of the control that `tag` names."""
    results = [each for each in annotation.get("result", []) if _is_region(each)]
    names = sorted({str(each.get("from_name")) for each in results})
    stated = record.options.tag if record.options.tag != AUTO else None
    if stated is None and len(names) > 1:
        cure = f'say which with tag = "{names[0]}"'
        raise record.refused(f"labels of several controls: {', '.join(names)}; {cure}")
    wanted = [each for each in results if stated in (None, each.get("from_name"))]
    return [
        {
            **each["value"],
            **each["value"].get("globalOffsets", {}),
            "labels": _labels(each),
        }
        for each in wanted
    ]


def _chosen(
    record: Record, done: Sequence[Mapping[str, Any]], regions: Sequence[Sequence[Any]]
) -> int | None:
    """Return which of several annotations of a task is read."""
    wanted = record.options.annotator
    if not done:
        return None
    if wanted and wanted != "first":
        of_whom = [_annotator(each) for each in done]
        return next((i for i, names in enumerate(of_whom) if wanted in names), None)
    truths = [i for i, each in enumerate(done) if each.get("ground_truth")]
    if wanted or len(truths) == 1:
        return truths[0] if truths else 0
    spans = [{(*item[:3],) for each in one for item in record.items(each)} for one in regions]
    if any(each != spans[0] for each in spans):
        names = [min(_annotator(each), default="?") for each in done]
        cure = f'say whose to read with annotator = "{names[0]}", or "first"'
        raise record.refused(f"annotators {', '.join(names)} differ; {cure}")
    return 0


def _is_region(result: Mapping[str, Any]) -> bool:
    value = result.get("value")
    return isinstance(value, dict) and "start" in value and bool(_labels(result))


def _labels(result: Mapping[str, Any]) -> Any:
    """Return the labels of a region: under `labels`, or the type, such as hypertextlabels."""
    value = result["value"]
    return value.get("labels") or value.get(str(result.get("type")))


def _annotator(annotation: Mapping[str, Any]) -> set[str]:
    """Return the names of an annotator: a number, or the number and the address."""
    by = annotation.get("completed_by")
    return {str(each) for each in (by.values() if isinstance(by, dict) else [by])}
