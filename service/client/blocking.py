"""The client for programs without an event loop."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self, Unpack

import httpx

from teddy.service.client.calls import (
    MODELS,
    READY,
    Call,
    CorrectionOptions,
    Marked,
    Options,
    as_line,
    batch_call,
    correction_call,
    model_call,
    read_batch,
    read_stream,
    read_tagged,
    reload_call,
    stream_call,
    tag_call,
)
from teddy.service.client.conduct import (
    BATCH_CHARACTERS,
    BATCH_TEXTS,
    STREAM_BYTES,
    STREAM_LINES,
    Chunks,
    Conduct,
    RetryPolicy,
    Timing,
    credentials,
)
from teddy.service.client.errors import ClientError, StreamBrokenError
from teddy.service.client.results import (
    AnswerReference,
    Corrected,
    ModelDetails,
    ModelSummary,
    Refusal,
    Reload,
    Result,
)


class Client:
    """Calls a service at `base_url`.

    A context manager: leaving it closes its connections. Threads may share one.

    `timeout_seconds` is for a whole call with its retries; each request sends what is left of it.
    Request bodies of `gzip_from_bytes` or more are compressed. `transport`, `timing` and `sleep`
    are for tests, proxies and the like.

    Every method raises TeddyServiceError and UnreachableError.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 60.0,
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        gzip_from_bytes: int = 2**15,
        transport: httpx.BaseTransport | None = None,
        timing: Timing = Timing(),  # noqa: B008 - frozen
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers=credentials(api_key), transport=transport
        )
        self._conduct = Conduct(timeout_seconds, retries, timing, gzip_from_bytes)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def tag(self, text: str, **options: Unpack[Options]) -> Result:
        """Return what is found in a text."""
        return read_tagged(self._answer(tag_call(text, options)))

    def tag_batch(
        self, texts: Iterable[str], *, together: int = BATCH_TEXTS, **options: Unpack[Options]
    ) -> Iterator[Result]:
        """Yield the results of texts in order, with at most `together` of them in a request.

        Texts are taken as results are. A text that cannot be tagged fails the request it is in.
        """
        for chunk in Chunks[str](together, BATCH_CHARACTERS).of(texts):
            yield from read_batch(self._answer(batch_call(chunk, options)))

    def stream(
        self, texts: Iterable[str], *, together: int = STREAM_LINES, **options: Unpack[Options]
    ) -> Iterator[Result | Refusal]:
        """Yield the results of texts in order, a Refusal for one that cannot be tagged.

        Texts are taken as results are, and are sent as streams of at most `together` texts, one
        after another: httpx sends a request whole before it reads any of the answer, so that one
        endless stream would end in a deadlock, each side waiting for the other to read. Choose 1 if
        your texts depend on the answers.

        Raises StreamBrokenError, with the number of texts that were answered, instead of the other
        two errors.
        """
        answered = 0
        for unanswered in Chunks[bytes](together, STREAM_BYTES).of(map(as_line, texts)):
            while unanswered:
                results = self._stream(unanswered, answered, options)
                yield from results
                answered += len(results)
                del unanswered[: len(results)]

    def correct(
        self,
        of: str | AnswerReference,
        entities: Iterable[Marked],
        **options: Unpack[CorrectionOptions],
    ) -> Corrected:
        """Correct the entities of a text, or of a result: `correct(result.answer, entities)`.

        Give all of them, of every label, or none. The service stores the correction for training if
        it is set to. It is sent once. The service remembers the text of an answer for a while.
        """
        return Corrected.read(self._answer(correction_call(of, entities, options)).json())

    def models(self) -> list[ModelSummary]:
        """Return the models that are served, the default one first."""
        return [ModelSummary.read(each) for each in self._answer(MODELS).json()["models"]]

    def model(self, name: str) -> ModelDetails:
        """One model: what it was made from and how well it does."""
        return ModelDetails.read(self._answer(model_call(name)).json())

    def reload(self, name: str) -> Reload:
        """Have a model's file loaded again; needs an admin key. It is tried once."""
        return Reload.read(self._answer(reload_call(name)).json())

    def ready(self) -> bool:
        """Whether the service answers and its models are loaded. Raises nothing."""
        try:
            self._answer(READY)
        except ClientError:
            return False
        return True

    def _stream(
        self, lines: Sequence[bytes], answered: int, options: Options
    ) -> Sequence[Result | Refusal]:
        """Return the results of at least the first of `lines`."""
        try:
            return read_stream(self._answer(stream_call(lines, options)))
        except ClientError as error:
            raise StreamBrokenError(answered, str(error)) from error

    def _answer(self, call: Call) -> httpx.Response:
        """Return the answer to a call that succeeds in the end."""
        call = self._conduct.packed(call)
        tries = self._conduct.tries(call)
        while True:
            request = self._conduct.request(self._http, call, tries)
            try:
                pause_seconds = tries.after_answer(response := self._http.send(request))
            except httpx.TransportError as error:
                pause_seconds = tries.after_failure(error)
            if pause_seconds is None:
                return response
            self._sleep(pause_seconds)
