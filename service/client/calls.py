"""What is sent for each of a client's methods, and how its answer is read. Nothing here sends."""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict
from urllib.parse import quote

import httpx

from teddy.service.client.errors import TeddyServiceError
from teddy.service.client.explanations import Explanation
from teddy.service.client.results import (
    AnswerReference,
    Corrected,
    Entity,
    Json,
    ModelDetails,
    ModelSummary,
    ModelVersion,
    Refusal,
    Reload,
    Result,
)

JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}


OffsetUnit = Literal["character", "utf16", "byte"]
"""As in `teddy.model.text.offsets`, which is not there where the client is installed alone."""


Text = str | Sequence[str]
"""A text, or its words where you have cut it into words already: then offsets are in words."""


class Options(TypedDict, total=False):
    """What may be asked for with texts; where it is left out, the service's defaults hold."""

    model: str
    labels: Sequence[str]
    min_score: float
    threshold: float | Mapping[str, float]
    n_best: int
    offset_unit: OffsetUnit
    sentences: Literal["document", "lines"]
    tokens: bool


class ExplainOptions(TypedDict, total=False):
    """What may be asked for with a text to explain; `spans` are (start, end, label)."""

    model: str
    labels: Sequence[str]
    min_score: float
    threshold: float | Mapping[str, float]
    offset_unit: OffsetUnit
    sentences: Literal["document", "lines"]
    spans: "Sequence[Marked]"


class CorrectionOptions(TypedDict, total=False):
    """What may be said with a correction; `model` only where it is of a text."""

    model: str
    offset_unit: OffsetUnit


Marked = Entity | tuple[int, int, str]
"""An entity as an answer has it, or its start, end and label."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `repeatable` says whether sending it twice does no more than sending it once."""

    method: str
    path: str
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True

    def packed(self) -> "Call":
        """Return the same call, its content as gzip."""
        headers = {**self.headers, "Content-Encoding": "gzip"}
        return replace(self, content=gzip.compress(self.content, compresslevel=1), headers=headers)


MODELS = Call("GET", "/v1/models")
READY = Call("GET", "/health/ready", repeatable=False)
"""It is asked again by asking again."""


def tag_call(text: Text, options: Options) -> Call:
    """Tag one text."""
    return Call("POST", "/v1/entities", as_json({**as_fields(text), **options}), JSON)


def batch_call(texts: Sequence[Text], options: Options) -> Call:
    """Tag several texts."""
    items = [text if isinstance(text, str) else as_fields(text) for text in texts]
    return Call("POST", "/v1/entities/batch", as_json({"texts": items, **options}), JSON)


def explain_call(text: Text, options: ExplainOptions) -> Call:
    """Ask for the reasons of a text's entities."""
    content = {**as_fields(text), **options}
    if options.get("spans") is not None:
        marked = map(as_marked, options["spans"])
        content["spans"] = [
            {key: each[key] for key in ("start", "end", "label")} for each in marked
        ]
    return Call("POST", "/v1/explain", as_json(content), JSON)


def as_fields(text: Text) -> Json:
    """Return a text, or words, as the field of a request."""
    return {"text": text} if isinstance(text, str) else {"words": text}


def size_of(text: Text) -> int:
    """Return about how many characters the service will count."""
    return len(text) if isinstance(text, str) else sum(map(len, text)) + len(text)


def stream_call(lines: Iterable[bytes], options: Options) -> Call:
    """Tag the texts of several lines."""
    return Call("POST", "/v1/entities/stream", b"".join(lines), LINES, parameters=as_query(options))


def model_call(name: str) -> Call:
    """Ask for one model."""
    return Call("GET", f"/v1/models/{quoted(name)}")


def reload_call(name: str) -> Call:
    """Load one model's file again."""
    return Call("POST", f"/v1/models/{quoted(name)}/reload", repeatable=False)


def quoted(name: str) -> str:
    """Return a name as a part of a path."""
    return quote(name, safe="", errors="replace")


def correction_call(
    of: str | AnswerReference, entities: Iterable[Marked], options: CorrectionOptions
) -> Call:
    """Say what is in a text, or in that of an answer. Sent twice it would be stored twice."""
    named = (
        {"text": of} if isinstance(of, str) else {"request_id": of.request_id, "index": of.index}
    )
    content = {**named, "entities": [as_marked(entity) for entity in entities], **options}
    return Call("POST", "/v1/feedback", as_json(content), JSON, repeatable=False)


def as_marked(entity: Marked) -> Json:
    """Return an entity as a correction has it, with the text of one from an answer, as a check."""
    if isinstance(entity, Entity):
        return {
            "start": entity.start,
            "end": entity.end,
            "label": entity.label,
            "text": entity.text,
        }
    start, end, label = entity
    return {"start": start, "end": end, "label": label}


def as_json(content: object) -> bytes:
    """JSON, in ASCII: a lone surrogate is for the service to refuse."""
    return json.dumps(content, separators=(",", ":"), default=list).encode()


def as_line(text: Text) -> bytes:
    """Return a text, or words, as a line of a stream."""
    return as_json(as_fields(text)) + b"\n"


def as_query(options: Options) -> Json:
    """Options as parameters of a query, where no labels at all are an empty one, and None none."""
    given = {name: value for name, value in options.items() if value is not None}
    by_label = given.get("threshold")
    if isinstance(by_label, Mapping):
        given["threshold"] = ",".join(f"{name}:{value}" for name, value in by_label.items())
    return {name: value if value != [] else "" for name, value in given.items()}


def read_tagged(response: httpx.Response) -> Result:
    """Return the answer to `tag_call`."""
    found = response.json()
    return Result.read(found, ModelVersion.read(found["model"]), answer_of(response))


def read_explained(response: httpx.Response) -> Explanation:
    """Return the answer to `explain_call`."""
    return Explanation.read(response.json())


def read_batch(response: httpx.Response, n_texts: int) -> list[Result]:
    """Return the answer to `batch_call`. Raises ValueError for more or fewer results than texts."""
    found = response.json()
    model = ModelVersion.read(found["model"])
    return [
        Result.read(each, model, answer_of(response, index))
        for index, each in zip(range(n_texts), found["results"], strict=True)
    ]


def read_ready(response: httpx.Response) -> bool:
    """Return whether this is what Teddy says when it is ready."""
    return bool(response.json() == {"status": "ready"})


def read_models(response: httpx.Response) -> list[ModelSummary]:
    """Return the answer to MODELS."""
    return [ModelSummary.read(each) for each in response.json()["models"]]


def read_details(response: httpx.Response) -> ModelDetails:
    """Return the answer to `model_call`."""
    return ModelDetails.read(response.json())


def read_reload(response: httpx.Response) -> Reload:
    """Return the answer to `reload_call`."""
    return Reload.read(response.json())


def read_corrected(response: httpx.Response) -> Corrected:
    """Return the answer to `correction_call`."""
    return Corrected.read(response.json())


def answer_of(response: httpx.Response, index: int = 0) -> AnswerReference | None:
    """Return the reference by which a result can be corrected; None if a proxy removed the id."""
    request_id = response.headers.get("X-Request-ID")
    return None if request_id is None else AnswerReference(request_id, index)


def read_stream(response: httpx.Response, n_texts: int) -> list[Result | Refusal]:
    """Yield the results of a `stream_call` in order; fewer if the service ended the stream.

    Raises TeddyServiceError if there is none, and ValueError if there are too many.
    """
    model = ModelVersion(
        response.headers["X-Teddy-Model"], response.headers["X-Teddy-Model-Version"]
    )
    results: list[Result | Refusal] = []
    for line in response.content.splitlines():
        found = json.loads(line)
        refusal = Refusal.read(found["error"]) if "error" in found else None
        if not found.get("final"):
            results.append(refusal or Result.read(found, model))
        elif refusal and not results:
            raise TeddyServiceError(refusal.status, refusal.kind, refusal.detail)
    if len(results) > n_texts:
        raise ValueError(f"{len(results)} answers to {n_texts} lines")
    if not results:
        raise TeddyServiceError(response.status_code, "empty-answer", "The stream had no lines.")
    return results
