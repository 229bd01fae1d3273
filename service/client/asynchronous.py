"""The client for asyncio and trio."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Self, Unpack

import anyio
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
    Item,
    RetryPolicy,
    Timing,
    connecting,
)
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


class AsyncClient:
    """What `Client` is, method by method, for those who wait with `await`. Tasks may share one."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 60.0,
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        gzip_from_bytes: int = 2**15,
        transport: httpx.AsyncBaseTransport | None = None,
        timing: Timing = Timing(),  # noqa: B008 - frozen
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        options = connecting(base_url, api_key, transport)
        self._http = httpx.AsyncClient(**options)
        self._fresh = httpx.AsyncClient(**options, limits=FRESH)
        self._conduct = Conduct(timeout_seconds, retries, timing, gzip_from_bytes)
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._fresh.aclose()

    async def tag(self, text: Text, **options: Unpack[Options]) -> Result:
        """Return what is found in a text."""
        return await self._answer(tag_call(text, options), read_tagged)

    async def tag_batch(
        self,
        texts: Iterable[Text] | AsyncIterable[Text],
        *,
        together: int = BATCH_TEXTS,
        **options: Unpack[Options],
    ) -> AsyncIterator[Result]:
        """See `Client.tag_batch`."""
        async for chunk in chunks_of(
            Chunks[Text](together, BATCH_CHARACTERS), texts, lambda text: text
        ):
            read = partial(read_batch, n_texts=len(chunk))
            for result in await self._answer(batch_call(chunk, options), read):
                yield result

    async def stream(
        self,
        texts: Iterable[Text] | AsyncIterable[Text],
        *,
        together: int = STREAM_LINES,
        **options: Unpack[Options],
    ) -> AsyncIterator[Result | Refusal]:
        """See `Client.stream`."""
        answered = 0
        async for unanswered in chunks_of(Chunks[bytes](together, STREAM_BYTES), texts, as_line):
            while unanswered:
                results = await self._stream(unanswered, answered, options)
                for result in results:
                    yield result
                answered += len(results)
                del unanswered[: len(results)]

    async def explain(self, text: Text, **options: Unpack[ExplainOptions]) -> Explanation:
        """Return the reasons for what is found in a text, or for the `spans` that you name."""
        return await self._answer(explain_call(text, options), read_explained)

    async def correct(
        self,
        of: str | AnswerReference,
        entities: Iterable[Marked],
        **options: Unpack[CorrectionOptions],
    ) -> Corrected:
        """See `Client.correct`."""
        return await self._answer(correction_call(of, entities, options), read_corrected)

    async def redact(self, text: str, **options: Unpack[RedactOptions]) -> Redacted:
        """See `Client.redact`."""
        return await self._answer(redact_call(text, options), read_redacted)

    async def redact_batch(
        self, texts: Iterable[str], *, together: int = BATCH_TEXTS, **options: Unpack[RedactOptions]
    ) -> AsyncIterator[Redacted]:
        """See `Client.redact_batch`."""
        for chunk in Chunks[str](together, BATCH_CHARACTERS).of(texts):
            read = partial(read_redacted_batch, n_texts=len(chunk))
            for result in await self._answer(redact_batch_call(chunk, options), read):
                yield result

    async def restore(self, text: str, form: Format = "text") -> Restored:
        """Put back the names that were encrypted; needs an admin key."""
        return await self._answer(restore_call(text, form), read_restored)

    async def models(self) -> list[ModelSummary]:
        """Return the models that are served, the default one first."""
        return await self._answer(MODELS, read_models)

    async def model(self, name: str) -> ModelDetails:
        """One model: what it was made from and how well it does."""
        return await self._answer(model_call(name), read_details)

    async def reload(self, name: str) -> Reload:
        """Have a model's file loaded again; needs an admin key. It is tried once."""
        return await self._answer(reload_call(name), read_reload)

    async def ready(self) -> bool:
        """Whether Teddy answers that its models are loaded. Raises nothing."""
        try:
            return await self._answer(READY, read_ready)
        except ClientError:
            return False

    async def _stream(
        self, lines: Sequence[bytes], answered: int, options: Options
    ) -> Sequence[Result | Refusal]:
        """Return the results of at least the first of `lines`."""
        try:
            return await self._answer(
                stream_call(lines, options), partial(read_stream, n_texts=len(lines))
            )
        except ClientError as error:
            raise StreamBrokenError(answered, str(error)) from error

    async def _answer(self, call: Call, read: Callable[[httpx.Response], Answer]) -> Answer:
        """Return what `read` makes of the answer to a call that succeeds in the end."""
        http = self._http if call.repeatable else self._fresh
        call = self._conduct.packed(call)
        tries = self._conduct.tries(call)
        while True:
            try:
                with anyio.fail_after(tries.remaining_seconds):
                    response = await http.send(self._conduct.request(http, call, tries))
                pause_seconds = tries.after_answer(response)
            except (httpx.RequestError, TimeoutError) as error:
                pause_seconds = tries.after_failure(error)
            except CANNOT_BE_SENT as error:
                raise UsageError(f"this cannot be sent: {error}") from error
            if pause_seconds is None:
                return understood(read, response)
            await self._sleep(pause_seconds)


async def chunks_of(
    chunks: Chunks[Item],
    texts: Iterable[Text] | AsyncIterable[Text],
    convert: Callable[[Text], Item],
) -> AsyncIterator[list[Item]]:
    """All the texts, converted, in chunks."""
    async for text in texts if isinstance(texts, AsyncIterable) else each_of(texts):
        for chunk in chunks.add(convert(text)):
            yield chunk
    for chunk in chunks.rest():
        yield chunk


async def each_of(texts: Iterable[Text]) -> AsyncIterator[Text]:
    """Texts that are there, as if they were waited for."""
    for text in texts:
        yield text
