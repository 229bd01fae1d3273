"""From the texts of a request to what was found in them: cut into windows, through the batcher, put together again.

What belongs to one text is done here, in the event loop while texts are short, in a thread when
they are long, so that the loop always has time for everybody else.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from teddy.service.inference.batcher import ANYBODY, Batcher
from teddy.service.inference.fair_queue import Ticket
from teddy.service.inference.models import ServedModel
from teddy.service.observability.drift import Drift
from teddy.service.observability.metrics import Metrics

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.model.text.documents import Document, Tagged

INLINE_CHARACTERS = 4096  # some two milliseconds of Python; what is longer goes to a thread
SIDE_THREADS = 2
CHARACTERS_A_WORD = 6  # in English, with the space
# in JSON; an estimate that is rather too low, for nobody may be refused by it who would get in
BYTES_A_WORD = 8

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Tagging:
    """Tags texts for many requests at once. Its batcher is open as long as it is used."""

    def __init__(self, batcher: Batcher[Any, Any], metrics: Metrics, drift: Drift) -> None:
        self._batcher = batcher
        self._metrics = metrics
        self._drift = drift
        self._executor = ThreadPoolExecutor(SIDE_THREADS, thread_name_prefix="texts")

    def check(self, n_bytes: int, ticket: Ticket) -> None:
        """Raise QueueFullError or ClientShareError if texts of so many bytes would be refused: before they are read."""
        self._batcher.check(n_bytes // BYTES_A_WORD, ticket)

    async def tag(
        self, model: ServedModel, texts: Sequence[str], ticket: Ticket = ANYBODY
    ) -> "list[Tagged]":
        """What `model` finds in each of `texts`, in order.

        Raises TextError and whatever `Batcher.submit` raises and its future fails with. Cancelling
        it frees its place.
        """
        characters = sum(map(len, texts))
        with self._batcher.expecting(characters // CHARACTERS_A_WORD, ticket):
            documents = await self.run(characters, prepare, model.predictor, texts)
        windows = [window for document in documents for window in document.windows]
        outputs = (
            await self._batcher.submit(model.predictor.predict, windows, ticket) if windows else []
        )
        return await self.run(characters, self._finish, model, documents, outputs)

    async def run(
        self,
        characters: int,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """`function(*args, **kwargs)`, in a thread if it is about more than a few thousand characters."""
        if characters <= INLINE_CHARACTERS:
            return function(*args, **kwargs)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(function, *args, **kwargs))

    def close(self) -> None:
        """Let the threads end."""
        self._executor.shutdown()
        self._drift.close()

    def _finish(
        self, model: ServedModel, documents: "Sequence[Document]", outputs: Sequence[Any]
    ) -> "list[Tagged]":
        tagged = assemble(model.predictor, documents, outputs)
        self._metrics.tagged(model.name, tagged)
        self._drift.observe(model, documents, tagged)
        return tagged


def prepare(predictor: "Predictor", texts: Sequence[str]) -> "list[Document]":
    """Each text as words and windows."""
    return [predictor.prepare(text) for text in texts]


def assemble(
    predictor: "Predictor", documents: "Sequence[Document]", outputs: Sequence[Any]
) -> "list[Tagged]":
    """Each document's result, from the outputs of all their windows in order."""
    remaining = iter(outputs)
    return [
        predictor.assemble(document, list(islice(remaining, len(document.windows))))
        for document in documents
    ]
