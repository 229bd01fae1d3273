"""POST /v1/entities/stream: any number of texts, one a line, answered in order as they come."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from teddy.service.api.answers import LineLimits, LineOptions, TaggedLines
from teddy.service.api.context import departure, make_context, seconds_for, service_of
from teddy.service.api.line_tagging import Lines, LineTagging, StreamRequest
from teddy.service.errors import MediaTypeError, ShuttingDownError
from teddy.service.http.body import body_chunks
from teddy.service.http.middleware import request_id
from teddy.service.http.openapi import body_of_lines, lines_of, problems
from teddy.service.inference.models import ServedModel
from teddy.service.process.control import Drain
from teddy.service.schemas import StreamError, StreamLine, StreamOptions, StreamResult

if TYPE_CHECKING:
    from teddy.model.tags.search import Search

MEDIA_TYPE = "application/x-ndjson"
MEDIA_TYPES = (MEDIA_TYPE, "application/jsonl")
ANY_RATE = 1e-9
CLOSING_SECONDS = 0.5
"""How long a stream that waits for its client may take to notice that the service shuts down."""

MODEL_HEADERS = {
    "X-Teddy-Model": "The model that answers.",
    "X-Teddy-Model-Version": "Its version.",
}

router = APIRouter()


class StreamAnswer(Response):
    """An answer of lines that are sent as they are made, after headers that are sent at once."""

    media_type = MEDIA_TYPE

    def __init__(
        self, lines: LineTagging, pieces: AsyncGenerator[bytes, None], headers: Mapping[str, str]
    ) -> None:
        self.status_code = 200
        self.background = None
        self._lines = lines
        self._pieces = pieces
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, as an ASGI app does."""

        async def send_lines(lines: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": lines, "more_body": more})

        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        try:
            async with aclosing(self._pieces):
                is_whole = await self._lines.run(
                    self._pieces, partial(departure, Request(scope, receive)), send_lines
                )
        finally:
            scope["words"] = self._lines.n_words
        if is_whole:
            await send_lines(b"", more=False)
        else:
            scope["problem"] = "client-departed"


@router.post(
    "/v1/entities/stream",
    response_class=Response,
    responses=lines_of(StreamResult, StreamError, media_type=MEDIA_TYPE, headers=MODEL_HEADERS)
    | problems(400, 401, 404, 408, 415, 422, 500, 503),
    openapi_extra=body_of_lines(StreamLine, MEDIA_TYPES),
    tags=["entities"],
)
async def tag_stream(request: Request, options: Annotated[StreamOptions, Query()]) -> Response:
    """Tag any number of texts: lines of JSON, each answered by a line, in order, as they come.

    A line that is wrong gets an `error` in its place, and the stream goes on. One model answers the
    whole stream, even if it is replaced meanwhile. Read answers while you send texts: otherwise no
    more texts are taken after a while.
    """
    service = service_of(request)
    check_media_type(request)
    model = service.models.get(options.model)
    model.check_labels(options.labels)
    search = model.search(options.threshold, options.n_best)
    asked = stream_request(request, model, options, search, TaggedLines(options))
    pieces = arrivals(request)
    # before the headers are sent: up to here, a fault is a problem with its own status
    first = await anext(pieces, b"")
    headers = dict(zip(MODEL_HEADERS, (model.name, model.predictor.version), strict=True))
    return StreamAnswer(LineTagging(service.tagging, asked), preceded(first, pieces), headers)


def check_media_type(request: Request) -> None:
    """Raise MediaTypeError unless the media type is that of lines of JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in MEDIA_TYPES:
        raise MediaTypeError(f"The body must be lines of JSON: send 'Content-Type: {MEDIA_TYPE}'.")


def stream_request(
    request: Request,
    model: ServedModel,
    options: LineOptions,
    search: "Search | None",
    lines: Lines,
) -> StreamRequest:
    """Return the options and limits of a stream.

    Time is limited for each line and not for the stream. Raises TimeoutHeaderError.
    """
    service = service_of(request)
    settings = service.settings
    make = partial(make_context, request, seconds=seconds_for(request), watched=False)
    return StreamRequest(
        model,
        options,
        LineLimits(settings.max_body_bytes, settings.max_text_characters),
        make,
        request_id(request.scope),
        partial(service.body_limits.budget.hold_line, request.scope),
        search,
        lines,
    )


async def arrivals(request: Request) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of a stream's body.

    Raises ShuttingDownError when the service shuts down, and as `body_chunks`: BodyTimeoutError
    when no piece has come for as long as a request may take. The average rate does not matter.
    """
    service, drain = service_of(request), request.app.state.drain
    idle_seconds = service.settings.request_timeout_seconds
    limits = replace(
        service.body_limits, timeout_seconds=idle_seconds, min_bytes_per_second=ANY_RATE
    )
    async with aclosing(body_chunks(request, limits)) as chunks:
        while piece := await unless_closed(drain, anext(chunks, b"")):
            yield piece


async def unless_closed(drain: Drain, coming: Awaitable[bytes]) -> bytes:
    """Await `coming`; raise ShuttingDownError instead once the service accepts no more."""
    arriving = asyncio.ensure_future(coming)
    try:
        while not arriving.done():
            if drain.closed:
                raise ShuttingDownError(
                    "The service is shutting down: send the other lines again.",
                    retry_after_seconds=1,
                )
            await asyncio.wait((arriving,), timeout=CLOSING_SECONDS)
        return arriving.result()
    finally:
        if not arriving.done():
            arriving.cancel()
            # the generator it reads from can only be closed when this has stopped
            await asyncio.wait((arriving,))


async def preceded(
    first: bytes, others: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """Yield `first`, then the others."""
    async with aclosing(others):
        yield first
        async for piece in others:
            yield piece
