"""The client for asyncio and trio."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, Unpack

import anyio
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
    Item,
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
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=credentials(api_key), transport=transport
        )
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

    async def tag(self, text: str, **options: Unpack[Options]) -> Result:
        """Return what is found in a text."""
        return read_tagged(await self._answer(tag_call(text, options)))

    async def tag_batch(
        self,
        texts: Iterable[str] | AsyncIterable[str],
        *,
        together: int = BATCH_TEXTS,
        **options: Unpack[Options],
    ) -> AsyncIterator[Result]:
        """See `Client.tag_batch`."""
        async for chunk in chunks_of(Chunks[str](together, BATCH_CHARACTERS), texts, str):
            for result in read_batch(await self._answer(batch_call(chunk, options))):
                yield result

    async def stream(
        self,
        texts: Iterable[str] | AsyncIterable[str],
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

    async def correct(
        self,
        of: str | AnswerReference,
        entities: Iterable[Marked],
        **options: Unpack[CorrectionOptions],
    ) -> Corrected:
        """See `Client.correct`."""
        return Corrected.read((await self._answer(correction_call(of, entities, options))).json())

    async def models(self) -> list[ModelSummary]:
        """Return the models that are served, the default one first."""
        return [ModelSummary.read(each) for each in (await self._answer(MODELS)).json()["models"]]

    async def model(self, name: str) -> ModelDetails:
        """One model: what it was made from and how well it does."""
        return ModelDetails.read((await self._answer(model_call(name))).json())

    async def reload(self, name: str) -> Reload:
        """Have a model's file loaded again; needs an admin key. It is tried once."""
        return Reload.read((await self._answer(reload_call(name))).json())

    async def ready(self) -> bool:
        """Whether the service answers and its models are loaded. Raises nothing."""
        try:
            await self._answer(READY)
        except ClientError:
            return False
        return True

    async def _stream(
        self, lines: Sequence[bytes], answered: int, options: Options
    ) -> Sequence[Result | Refusal]:
        """Return the results of at least the first of `lines`."""
        try:
            return read_stream(await self._answer(stream_call(lines, options)))
        except ClientError as error:
            raise StreamBrokenError(answered, str(error)) from error

    async def _answer(self, call: Call) -> httpx.Response:
        """Return the answer to a call that succeeds in the end."""
        call = self._conduct.packed(call)
        tries = self._conduct.tries(call)
        while True:
            request = self._conduct.request(self._http, call, tries)
            try:
                pause_seconds = tries.after_answer(response := await self._http.send(request))
            except httpx.TransportError as error:
                pause_seconds = tries.after_failure(error)
            if pause_seconds is None:
                return response
            await self._sleep(pause_seconds)


async def chunks_of(
    chunks: Chunks[Item], texts: Iterable[str] | AsyncIterable[str], convert: Callable[[str], Item]
) -> AsyncIterator[list[Item]]:
    """All the texts, converted, in chunks."""
    async for text in texts if isinstance(texts, AsyncIterable) else each_of(texts):
        for chunk in chunks.add(convert(text)):
            yield chunk
    for chunk in chunks.rest():
        yield chunk


async def each_of(texts: Iterable[str]) -> AsyncIterator[str]:
    """Texts that are there, as if they were waited for."""
    for text in texts:
        yield text
