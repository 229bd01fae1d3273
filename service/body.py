"""Request bodies: bounded while they are read, and JSON."""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLargeError, ClientDepartedError, MediaTypeError


class BodyLimit:
    """Middleware: reading more than `max_bytes` of a body, announced or not, raises BodyTooLargeError."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI app does."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = announced_bytes(scope)
        counted = 0

        async def bounded_receive() -> Message:
            nonlocal counted
            self._check(announced)
            message = await receive()
            if message["type"] == "http.request":
                counted += len(message.get("body", b""))
                self._check(counted)
            return message

        await self._app(scope, bounded_receive, send)

    def _check(self, n_bytes: int) -> None:
        if n_bytes > self._max_bytes:
            raise BodyTooLargeError(f"The body is larger than {self._max_bytes} bytes.")


def announced_bytes(scope: Scope) -> int:
    """What Content-Length says, or 0."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])  # enough digits to be too many bytes
    return 0


def is_json(content_type: str) -> bool:
    """Whether a Content-Type is `application/json` or a kind of it."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


async def read_body(request: Request) -> bytes:
    """The whole body. Raises MediaTypeError, BodyTooLargeError, and ClientDepartedError if its end never comes."""
    if not is_json(request.headers.get("content-type", "")):
        raise MediaTypeError("The body must be JSON: send 'Content-Type: application/json'.")
    chunks = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDepartedError("The client left before its request was complete.")
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)
