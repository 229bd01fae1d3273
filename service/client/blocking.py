"""The client for programs without an event loop."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Self, Unpack

import httpx

from teddy.service.client.calls import (
    MODELS,
    READY,
    Call,
    CorrectionOptions,
    ExplainOptions,
    Marked,
    Options,
    Text,
    as_line,
    batch_call,
    correction_call,
    explain_call,
    model_call,
    read_batch,
    read_corrected,
    read_details,
    read_explained,
    read_models,
    read_ready,
    read_reload,
    read_stream,
    read_tagged,
    reload_call,
    stream_call,
    tag_call,
)
from teddy.service.client.conduct import (
    BATCH_CHARACTERS,
    BATCH_TEXTS,
    CANNOT_BE_SENT,
    FRESH,
    STREAM_BYTES,
    STREAM_LINES,
    Chunks,
    Conduct,
    RetryPolicy,
    Timing,
    connecting,
)
from teddy.service.client.deadline import Deadline
from teddy.service.client.errors import (
    Answer,
    ClientError,
    StreamBrokenError,
    UsageError,
    understood,
)
from teddy.service.client.explanations import Explanation
from teddy.service.client.redaction import (
    Format,
    Redacted,
    RedactOptions,
    Restored,
    read_redacted,
    read_redacted_batch,
    read_restored,
    redact_batch_call,
    redact_call,
    restore_call,
)
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

    `timeout_seconds` is for a whole call with its retries, however slowly the service sends; each
    request sends what is left of it.
    Request bodies of `gzip_from_bytes` or more are compressed. `transport`, `timing` and `sleep`
    are for tests, proxies and the like.

    Every method raises TeddyServiceError, UnreachableError and UsageError, and so does making a
    client; each is a ClientError.
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
        options = connecting(base_url, api_key, transport)
        self._http = httpx.Client(**options)
        self._fresh = httpx.Client(**options, limits=FRESH)
        self._deadline = Deadline()
        for http in (self._http, self._fresh):
            self._deadline.watch(http)
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
        self._fresh.close()

    def tag(self, text: Text, **options: Unpack[Options]) -> Result:
        """Return what is found in a text, or in words: then offsets are in words."""
        return self._answer(tag_call(text, options), read_tagged)

    def tag_batch(
        self, texts: Iterable[Text], *, together: int = BATCH_TEXTS, **options: Unpack[Options]
    ) -> Iterator[Result]:
        """Yield the results of texts in order, with at most `together` of them in a request.

        Texts are taken as results are. A text that cannot be tagged fails the request it is in.
        """
        for chunk in Chunks[Text](together, BATCH_CHARACTERS).of(texts):
            read = partial(read_batch, n_texts=len(chunk))
            yield from self._answer(batch_call(chunk, options), read)

    def stream(
        self, texts: Iterable[Text], *, together: int = STREAM_LINES, **options: Unpack[Options]
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

    def explain(self, text: Text, **options: Unpack[ExplainOptions]) -> Explanation:
        """Return the reasons for what is found in a text, or for the `spans` that you name."""
        return self._answer(explain_call(text, options), read_explained)

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
        return self._answer(correction_call(of, entities, options), read_corrected)

    def redact(self, text: str, **options: Unpack[RedactOptions]) -> Redacted:
        """Return a text, or a document of the `format` named, without its names."""
        return self._answer(redact_call(text, options), read_redacted)

    def redact_batch(
        self, texts: Iterable[str], *, together: int = BATCH_TEXTS, **options: Unpack[RedactOptions]
    ) -> Iterator[Redacted]:
        """Yield texts without their names, in order, as `tag_batch` does results."""
        for chunk in Chunks[str](together, BATCH_CHARACTERS).of(texts):
            read = partial(read_redacted_batch, n_texts=len(chunk))
            yield from self._answer(redact_batch_call(chunk, options), read)

    def restore(self, text: str, form: Format = "text") -> Restored:
        """Put back the names that were encrypted; needs an admin key."""
        return self._answer(restore_call(text, form), read_restored)

    def models(self) -> list[ModelSummary]:
        """Return the models that are served, the default one first."""
        return self._answer(MODELS, read_models)

    def model(self, name: str) -> ModelDetails:
        """One model: what it was made from and how well it does."""
        return self._answer(model_call(name), read_details)

    def reload(self, name: str) -> Reload:
        """Have a model's file loaded again; needs an admin key. It is tried once."""
        return self._answer(reload_call(name), read_reload)

    def ready(self) -> bool:
        """Whether Teddy answers that its models are loaded. Raises nothing."""
        try:
            return self._answer(READY, read_ready)
        except ClientError:
            return False

    def _stream(
        self, lines: Sequence[bytes], answered: int, options: Options
    ) -> Sequence[Result | Refusal]:
        """Return the results of at least the first of `lines`."""
        try:
            return self._answer(
                stream_call(lines, options), partial(read_stream, n_texts=len(lines))
            )
        except ClientError as error:
            raise StreamBrokenError(answered, str(error)) from error

    def _answer(self, call: Call, read: Callable[[httpx.Response], Answer]) -> Answer:
        """Return what `read` makes of the answer to a call that succeeds in the end."""
        http = self._http if call.repeatable else self._fresh
        call = self._conduct.packed(call)
        tries = self._conduct.tries(call)
        while True:
            try:
                with self._deadline.within(tries.remaining_seconds):
                    response = http.send(self._conduct.request(http, call, tries))
                pause_seconds = tries.after_answer(response)
            except (httpx.RequestError, TimeoutError) as error:
                pause_seconds = tries.after_failure(error)
            except CANNOT_BE_SENT as error:
                raise UsageError(f"this cannot be sent: {error}") from error
            if pause_seconds is None:
                return understood(read, response)
            self._sleep(pause_seconds)
