"""The endpoints that take names out of texts and put them back: see docs/redact.md."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response

from teddy.model.errors import TeddyError
from teddy.model.text.offsets import OffsetUnit, convert_offsets
from teddy.service.api.answers import SCORE_DIGITS, Read, as_json, as_line, refuse_line
from teddy.service.api.context import Service, make_context, service_of
from teddy.service.api.line_tagging import LineTagging
from teddy.service.api.reading import read_json, refuse_query
from teddy.service.api.routes import TAGGING_PROBLEMS
from teddy.service.api.stream import (
    MEDIA_TYPE,
    MEDIA_TYPES,
    MODEL_HEADERS,
    StreamAnswer,
    arrivals,
    check_media_type,
    preceded,
    stream_request,
)
from teddy.service.errors import TextTooLongError, TooManyTextsError
from teddy.service.http.body import read_body
from teddy.service.http.callers import Caller
from teddy.service.http.openapi import body_of, body_of_lines, lines_of, problems
from teddy.service.inference.fair_queue import RequestContext
from teddy.service.inference.models import ServedModel
from teddy.service.redaction.documents import Document, Item, Redacted, redact, restore
from teddy.service.redaction.operators import Policy
from teddy.service.redaction.requests import (
    ItemOut,
    RedactBatchRequest,
    RedactBatchResponse,
    RedactedLine,
    RedactRequest,
    RedactResponse,
    RedactResult,
    RedactStreamOptions,
    RestoreRequest,
    RestoreResponse,
)
from teddy.service.redaction.secret import SecretError
from teddy.service.schemas import StreamError, StreamLine

if TYPE_CHECKING:
    from teddy.model.tags.search import Search
    from teddy.model.text.documents import Tagged

Body = TypeVar("Body", RedactRequest, RedactBatchRequest, RestoreRequest)
Asked = RedactRequest | RedactBatchRequest | RedactStreamOptions
PROBLEMS = problems(*TAGGING_PROBLEMS)
router = APIRouter(tags=["redaction"])


@router.post(
    "/v1/redact",
    response_model=RedactResponse,
    responses=PROBLEMS,
    openapi_extra=body_of(RedactRequest),
)
async def redact_text(request: Request) -> Response:
    """Replace the names in a text, or in a document of JSON, CSV, HTML or Markdown."""
    model, (result,) = await _redacted(request, RedactRequest)
    return as_json(RedactResponse(model=model.reference, **dict(result)))


@router.post(
    "/v1/redact/batch",
    response_model=RedactBatchResponse,
    responses=PROBLEMS,
    openapi_extra=body_of(RedactBatchRequest),
)
async def redact_batch(request: Request) -> Response:
    """Replace the names in several texts, in order."""
    model, results = await _redacted(request, RedactBatchRequest)
    return as_json(RedactBatchResponse(model=model.reference, results=results))


@router.post(
    "/v1/redact/stream",
    response_class=Response,
    responses=lines_of(RedactedLine, StreamError, media_type=MEDIA_TYPE, headers=MODEL_HEADERS)
    | problems(400, 401, 404, 408, 415, 422, 500, 503),
    openapi_extra=body_of_lines(StreamLine, MEDIA_TYPES),
)
async def redact_stream(
    request: Request, options: Annotated[RedactStreamOptions, Query()]
) -> Response:
    """Redact any number of texts: lines of JSON, each answered by a line, as for entities."""
    service = service_of(request)
    check_media_type(request)
    model = service.models.get(options.model)
    policy = _policy(service, options)
    search = _search(service, model, options)
    lines = RedactedLines(options, policy)
    asked = stream_request(request, model, options, search, lines)
    pieces = arrivals(request)
    first = await anext(pieces, b"")
    headers = dict(zip(MODEL_HEADERS, (model.name, model.predictor.version), strict=True))
    return StreamAnswer(LineTagging(service.tagging, asked), preceded(first, pieces), headers)


@router.post(
    "/v1/restore",
    response_model=RestoreResponse,
    responses=problems(400, 401, 403, 408, 413, 415, 422, 429, 500, 503),
    openapi_extra=body_of(RestoreRequest),
)
async def restore_text(request: Request) -> Response:
    """Put back the names that were encrypted; needs an admin key."""
    caller: Caller = request.scope["caller"]
    caller.check_admin()
    service = service_of(request)
    asked = await _read_asked(request, RestoreRequest, make_context(request))
    if service.secret is None:
        raise SecretError("This needs a key of redaction, and none is set here.")
    run, size = service.tagging.run, len(asked.text)
    done = await run(size, restore, asked.text, asked.format or "text", service.secret)
    return as_json(RestoreResponse(**asdict(done)))


async def _read_asked(request: Request, kind: type[Body], context: RequestContext) -> Body:
    """Read a body of that class. Raises ValidationError, and as `read_body`."""
    if request.scope["query_string"]:
        refuse_query(request)
    service = service_of(request)
    refuse_early = partial(service.tagging.refuse_early, context=context)
    body = await read_body(request, service.body_limits, refuse_early)
    return await service.tagging.run(len(body), read_json, kind, body)


async def _redacted(
    request: Request, kind: "type[RedactRequest] | type[RedactBatchRequest]"
) -> tuple[ServedModel, list[RedactResult]]:
    """Read a body of that class, and return the model and the result of each text."""
    service: Service = service_of(request)
    context = make_context(request)
    asked: Any = await _read_asked(request, kind, context)
    contents = [asked.text] if isinstance(asked, RedactRequest) else asked.texts
    settings, run = service.settings, service.tagging.run
    if len(contents) > settings.max_texts:
        raise TooManyTextsError(f"{len(contents)} texts; at most {settings.max_texts} in a batch.")
    if (size := sum(map(len, contents))) > settings.max_text_characters:
        raise TextTooLongError(
            f"{size} characters; at most {settings.max_text_characters} in one request."
        )
    model = service.models.get(asked.model)
    policy, search = _policy(service, asked), _search(service, model, asked)
    documents = await run(size, _read, contents, asked)
    texts = [text for document in documents for text in document.texts]
    tagged = await service.tagging.tag(model, texts, context, asked.sentences, search)
    request.scope["words"] = sum(each.n_words for each in tagged)
    request.scope["model"] = model
    results = await run(size, _results, documents, tagged, policy, asked.offset_unit)
    return model, results


def _read(contents: Sequence[str], asked: Asked) -> list[Document]:
    return [Document.read(each, asked.format or "text", asked.fields) for each in contents]


def _policy(service: Service, asked: Asked) -> Policy:
    """Return what to do with each label. Raises SecretError without a key where one is needed."""
    return Policy(operators=asked.chosen(), scope=asked.scope or "text", secret=service.secret)


def _search(service: Service, model: ServedModel, asked: Asked) -> "Search | None":
    """Return what to look for: by the request, or by the service's thresholds for redaction."""
    threshold = asked.threshold
    if threshold is None and service.redact_thresholds:
        known = model.predictor.manifest.labels
        threshold = {
            label: each for label, each in service.redact_thresholds.items() if label in known
        }
    return model.search(threshold, 0)


def _results(
    documents: Sequence[Document],
    tagged: "Sequence[Tagged]",
    policy: Policy,
    unit: OffsetUnit | None,
) -> list[RedactResult]:
    taken = iter(tagged)
    return [
        _result(
            document,
            redact(
                document,
                [each.entities for each in islice(taken, len(document.segments))],
                policy,
            ),
            unit or "character",
        )
        for document in documents
    ]


def _result(document: Document, done: Redacted, unit: OffsetUnit) -> RedactResult:
    items = done.items
    if unit != "character":
        olds = (bound for each in items for bound in (each.start, each.end))
        news = (bound for each in items for bound in (each.new_start, each.new_end))
        old = convert_offsets(document.content, olds, unit)
        new = convert_offsets(done.text, news, unit)
        items = [
            Item(
                start=next(old),
                end=next(old),
                new_start=next(new),
                new_end=next(new),
                label=each.label,
                operator=each.operator,
                score=each.score,
            )
            for each in items
        ]
    return RedactResult(
        text=done.text,
        items=[
            ItemOut(**(asdict(each) | {"score": round(each.score, SCORE_DIGITS)})) for each in items
        ],
    )


class RedactedLines:
    """The lines of a stream of texts to redact."""

    def __init__(self, options: RedactStreamOptions, policy: Policy) -> None:
        self._options = options
        self._policy = policy

    def prepare(self, read: Sequence[Read]) -> "tuple[list[Any], list[str]]":
        """Return the documents of lines, or what is wrong with them, and their texts to tag."""
        prepared: list[Any] = []
        for line in read:
            if isinstance(line, StreamError):
                prepared.append(line)
                continue
            try:
                (document,) = _read([line.text or ""], self._options)
                prepared.append((line, document))
            except TeddyError as error:
                prepared.append(refuse_line(error, line.id))
        texts = [
            text for each in prepared if not isinstance(each, StreamError) for text in each[1].texts
        ]
        return prepared, texts

    def write(self, prepared: "Sequence[Any]", outcomes: "Sequence[Tagged | TeddyError]") -> bytes:
        """Return the answers to the lines; `outcomes` are those of their texts, in order."""
        remaining = iter(outcomes)
        answers: list[bytes] = []
        for each in prepared:
            if isinstance(each, StreamError):
                answers.append(as_line(each))
                continue
            line, document = each
            own: list[Any] = list(islice(remaining, len(document.segments)))
            wrong = next((one for one in own if isinstance(one, TeddyError)), None)
            if wrong is not None:
                answers.append(as_line(refuse_line(wrong, line.id)))
                continue
            (result,) = _results([document], own, self._policy, self._options.offset_unit)
            answers.append(as_line(RedactedLine(id=line.id, **dict(result))))
        return b"".join(answers)
