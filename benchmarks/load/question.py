"""Requests that know their answer: everything that comes back is checked, under any load."""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from benchmarks.load.connection import Answer

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor

SCORE_TOLERANCE = 0.002
"""A score in bf16 differs a little with the length of its batch; everything else is equal."""

Entities = list[dict[str, Any]]
"""What a text's answer has under `entities`."""
Found = Mapping[str, Sequence[Entities]]
"""For each version of the model that may answer: the entities of each text."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A POST of JSON, and the check of its answer."""

    path: str
    body: bytes
    found: Found | None
    """None: only that the answer is a result is checked."""
    headers: tuple[str, ...] = ()
    single: bool = True
    n_words: int = 0
    _head: bytes = field(default=b"", init=False)
    _right: set[bytes] = field(default_factory=set)
    """Answers that were looked at and right: the same bytes again need no second look."""

    def __post_init__(self) -> None:
        lines = [
            f"POST {self.path} HTTP/1.1",
            "Host: teddy",
            "Content-Type: application/json",
            f"Content-Length: {len(self.body)}",
            *self.headers,
            "X-Request-ID: ",
        ]
        object.__setattr__(self, "_head", "\r\n".join(lines).encode())

    def with_headers(self, *headers: str) -> "Question":
        """The same with more headers."""
        return replace(self, headers=(*self.headers, *headers), _right=set())

    def gzipped(self) -> "Question":
        """The same in a compressed body."""
        return replace(self.with_headers("Content-Encoding: gzip"), body=gzip.compress(self.body))

    def for_versions(self, *versions: str) -> "Question":
        """The same for models of any of these versions, which all find what the first one knows."""
        if self.found is None:
            return self
        return replace(
            self, found=dict.fromkeys(versions, next(iter(self.found.values()))), _right=set()
        )

    def request(self, request_id: bytes) -> tuple[bytes, bytes]:
        """The bytes to send: head and body."""
        return self._head + request_id + b"\r\n\r\n", self.body

    def fault(self, answer: Answer, request_id: bytes) -> str | None:
        """What is wrong with an answer; None if nothing is.

        A refusal is right if it is a problem of this request.
        """
        if answer.headers.get(b"x-request-id") != request_id:
            found = answer.headers.get(b"x-request-id")
            return f"answered another request: {found!r}, not {request_id!r}"
        if answer.status != 200:
            return problem_fault(answer, request_id)
        if answer.body in self._right:
            return None
        fault = self._content_fault(answer.body)
        if fault is None:
            self._right.add(answer.body)
        return fault

    def _content_fault(self, body: bytes) -> str | None:
        try:
            content = json.loads(body)
            given = (
                [content["entities"]]
                if self.single
                else [result["entities"] for result in content["results"]]
            )
            version = content["model"]["version"]
        except (ValueError, KeyError, TypeError):
            return "not an answer"
        if self.found is None:
            return None
        if version not in self.found:
            return f"answered by {version}, which is none of the models"
        if not all_alike(given, self.found[version]):
            return "wrong entities"
        return None


def problem_fault(answer: Answer, request_id: bytes) -> str | None:
    """Return the fault of a refusal, which must be a problem with the request's id."""
    if answer.headers.get(b"content-type") != b"application/problem+json":
        return f"status {answer.status} without a problem"
    content = json.loads(answer.body)
    if content["status"] != answer.status or content["request_id"].encode() != request_id:
        return f"status {answer.status} with another one's problem"
    if answer.status in (429, 503) and not answer.headers.get(b"retry-after", b"").isdigit():
        return f"status {answer.status} without Retry-After"
    return None


def all_alike(given: Sequence[Entities], expected: Sequence[Entities]) -> bool:
    """Whether the entities are the same, and their scores within the tolerance."""
    return len(given) == len(expected) and all(map(alike, given, expected))


def alike(given: Entities, expected: Entities) -> bool:
    """Whether one text's entities are the same."""
    return len(given) == len(expected) and all(
        {**one, "score": 0} == {**other, "score": 0}
        and abs(one["score"] - other["score"]) <= SCORE_TOLERANCE
        for one, other in zip(given, expected, strict=True)
    )


def entities_of(predictor: "Predictor", texts: Sequence[str]) -> list[Entities]:
    """What a predictor in this process finds, as an answer has it."""
    return [
        [
            {
                "start": each.start,
                "end": each.end,
                "label": each.label,
                "score": each.score,
                "text": each.text,
                **({"source": each.source} if each.source else {}),
                **({"id": each.id} if each.id else {}),
            }
            for each in entities
        ]
        for entities in predictor.tag(texts)
    ]


def single_questions(
    texts: Sequence[str], found: Found | None, **options: object
) -> list[Question]:
    """One request for each text."""
    return [
        Question(
            path="/v1/entities",
            body=as_json({"text": text, **options}),
            found=None
            if found is None
            else {version: [each[i]] for version, each in found.items()},
            n_words=len(text.split()),
        )
        for i, text in enumerate(texts)
    ]


def batch_questions(
    texts: Sequence[str], found: Found | None, sizes: Iterable[int], **options: object
) -> list[Question]:
    """Requests for as many texts as `sizes` says, in turn, until the texts are used up."""
    questions = []
    start = 0
    for size in sizes:
        if start >= len(texts):
            break
        part = slice(start, start + size)
        questions.append(
            Question(
                path="/v1/entities/batch",
                body=as_json({"texts": texts[part], **options}),
                found=None
                if found is None
                else {version: each[part] for version, each in found.items()},
                single=False,
                n_words=sum(len(text.split()) for text in texts[part]),
            )
        )
        start += size
    return questions


def as_json(content: object) -> bytes:
    """As most clients send it."""
    return json.dumps(content, ensure_ascii=False).encode()
