"""What is done ten times a second and not for each request: to measure how late the event loop is, and to count."""

import asyncio
from collections.abc import Callable, Iterable

from teddy.service.metrics import Metrics
from teddy.service.models import ServedModel

BEAT_SECONDS = 0.1


async def beat(metrics: Metrics, models: Callable[[], Iterable[ServedModel]]) -> None:
    """Count for ever, ten times a second. Lag is what a request would wait before anything looks at it."""
    loop, padding = asyncio.get_running_loop(), PaddingCount(metrics)
    while True:
        due = loop.time() + BEAT_SECONDS
        await asyncio.sleep(BEAT_SECONDS)
        metrics.loop_lag.observe(max(0.0, loop.time() - due))
        padding.update(models())
        metrics.flush()


class PaddingCount:
    """Passes on what the models' taggers have counted of padding since it was last asked."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._seen: dict[str, int] = {}

    def update(self, models: Iterable[ServedModel]) -> None:
        """Count what is new: of a model that is new, not what loading it took. One that has gone is forgotten."""
        totals = {model.version: model.predictor.tagger.padding_words for model in models}
        if new := sum(total - self._seen.get(version, total) for version, total in totals.items()):
            self._metrics.padding_words.inc(new)
        self._seen = totals
