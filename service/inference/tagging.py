"""Tag the texts of a request: cut into windows, through the batcher, put together again.

The work on one text is done in the event loop while texts are short and in a thread when they are
long, so that the loop always has time for other requests.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from teddy.model.text.sentences import SentenceMode
from teddy.model.text.words import Text, n_characters
from teddy.service.inference.batcher import Batcher
from teddy.service.inference.fair_queue import DEFAULT_CONTEXT, RequestContext
from teddy.service.inference.models import ServedModel
from teddy.service.inference.pending import PendingRequest, Predict
from teddy.service.observability.drift import Drift
from teddy.service.observability.metrics import Metrics

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.model.reasons.plan import Plan
    from teddy.model.tags.search import Search
    from teddy.model.text.documents import Document, Tagged

INLINE_CHARACTERS = 4096  # some two milliseconds of Python; longer texts go to a thread
SIDE_THREADS = 2
CHARACTERS_A_WORD = 6  # in English, with the space
NOTHING = object()
BYTES_A_WORD = 8  # in JSON; a high estimate, so that no request is refused that would fit

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Tagging:
    """Tags texts for many requests at once. Its batcher must be open."""

    def __init__(self, batcher: Batcher[Any, Any], metrics: Metrics, drift: Drift) -> None:
        self._batcher = batcher
        self._metrics = metrics
        self._drift = drift
        self._executor = ThreadPoolExecutor(SIDE_THREADS, thread_name_prefix="texts")
        self._n_long = 0

    @property
    def has_long(self) -> bool:
        """Whether a text is being worked on that is too long for the event loop."""
        return self._n_long > 0

    def refuse_early(self, n_bytes: int, context: RequestContext) -> None:
        """Raise as `tag`, before a large body is read, if its words would not fit in the queue."""
        if n_bytes > INLINE_CHARACTERS:
            with self._batcher.reserve(n_bytes // BYTES_A_WORD, context):
                pass

    async def tag(
        self,
        model: ServedModel,
        texts: Sequence[Text],
        context: RequestContext = DEFAULT_CONTEXT,
        sentences: SentenceMode | None = None,
        search: "Search | None" = None,
        *,
        observed: bool = True,
    ) -> "list[Tagged]":
        """Return the entities that `model` finds in each of `texts`, in order.

        `sentences` says how they are cut into sentences; None: as the model file says. `search` is
        what to look for beyond the best path; metrics and drift count the best path in any case,
        and drift none that are not `observed`.
        Raises TextError, and as `Batcher.enqueue` and its future. Cancelling it frees its place in
        the queue.
        """
        characters = sum(map(n_characters, texts))
        is_long = characters > INLINE_CHARACTERS
        self._n_long += is_long
        try:
            with self._batcher.reserve(characters // CHARACTERS_A_WORD, context):
                documents = await self.run(characters, _prepare, model.predictor, texts, sentences)
            outputs = await self._predict(model, documents, context, search)
            return await self.run(
                characters, self._finish, model, documents, outputs, search, observed
            )
        finally:
            self._n_long -= is_long

    async def answer(
        self, model: ServedModel, plan: "Plan", context: RequestContext
    ) -> "Awaitable[list[Any]]":
        """Queue what a plan asks; return a future of the answers. Raises as `Batcher.enqueue`.

        Each question counts as what it costs, so that a batch of them takes no longer than another.
        """
        with self._batcher.reserve(plan.cost, context):
            size = plan.cost * CHARACTERS_A_WORD
            questions = await self.run(size, lambda: plan.questions)
        n_words = sum(each.n_words for each in questions)
        return self._enqueue(model.predictor.reasons.answer, [questions], n_words, context)

    def _predict(
        self,
        model: ServedModel,
        documents: "Sequence[Document]",
        context: RequestContext,
        search: "Search | None",
    ) -> "Awaitable[list[Any]]":
        """Queue the windows of some documents; return a future of their results."""
        groups = [document.windows for document in documents]
        n_words = sum(each.n_words for each in groups)
        predict: Callable[[list[Any]], list[Any]] = model.predictor.predict
        if search is not None:
            predict = model.predictor.searching(search)
        return self._enqueue(predict, groups, n_words, context)

    def _enqueue(
        self,
        predict: Predict[Any, Any],
        groups: Sequence[Collection[Any]],
        n_words: int,
        context: RequestContext,
    ) -> "Awaitable[list[Any]]":
        """Queue groups of `n_words` together; return a future of their results.

        No coroutine may hold the request or the future: the future has its error, the error the
        coroutine's frame, and such a cycle kept a whole text until garbage was collected (230 ms).
        """
        loop = asyncio.get_running_loop()
        if not n_words:
            nothing: asyncio.Future[list[Any]] = loop.create_future()
            nothing.set_result([])
            return nothing
        return self._batcher.enqueue(PendingRequest(predict, groups, n_words, context, loop))

    async def run(
        self,
        characters: int,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call `function`, in a thread if it is about more than a few thousand characters."""
        if characters <= INLINE_CHARACTERS:
            return function(*args, **kwargs)
        loop = asyncio.get_running_loop()
        self._n_long += 1
        try:
            return await loop.run_in_executor(self._executor, partial(function, *args, **kwargs))
        finally:
            self._n_long -= 1

    def close(self) -> None:
        """Stop the threads."""
        self._executor.shutdown()
        self._drift.close()

    def _finish(
        self,
        model: ServedModel,
        documents: "Sequence[Document]",
        outputs: list[Any],
        search: "Search | None",
        observed: bool,
    ) -> "list[Tagged]":
        # each result is freed as soon as it has been read, and not all in one go
        outputs.reverse()
        taken = iter(outputs.pop, NOTHING)
        groups = [islice(taken, len(document.windows)) for document in documents]
        kept = [list(group) for group in groups] if search is not None else []
        tagged = [
            model.predictor.assemble(*each) for each in zip(documents, kept or groups, strict=True)
        ]
        self._metrics.tagged(model.name, tagged)
        if observed:
            self._drift.observe(model, documents, tagged)
        if search is None:
            return tagged
        return [
            model.predictor.finish(document, own, search, each)
            for document, own, each in zip(documents, kept, tagged, strict=True)
        ]


def _prepare(
    predictor: "Predictor", texts: Sequence[Text], sentences: SentenceMode | None
) -> "list[Document]":
    cut = predictor.prepare if sentences is None else predictor.cut_by(sentences)
    return [cut(text) for text in texts]
