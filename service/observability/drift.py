"""Drift: whether live texts look like those that a model was measured on, off the requests' path.

Tagging -> observe -> DriftIntake: a few texts, held for about a second; the others pass
                          '--> a thread -> DriftWindows: counts, no texts
                                  '--> a document for all workers -> DriftMetrics, at each scrape
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from teddy.service.inference.models import ServedModel
from teddy.service.observability.drift_gauges import SUBJECT, DriftMetrics
from teddy.service.observability.drift_windows import DriftWindows
from teddy.service.observability.metrics import Metrics
from teddy.service.settings import Settings

if TYPE_CHECKING:
    from teddy.model.text.documents import Document, Tagged

PAUSE_SECONDS = 1.0
"""Between two rounds of the thread: one that is woken for each request would cost each request
something."""
IDLE_SECONDS = 600.0
"""After so long without a text, the old ones are forgotten all the same."""
MOST_HELD_WORDS = 100_000
"""Of texts that wait to be counted: about what a worker tags in a second."""
TEXTS_AT_ONCE = 16
BREATH_SECONDS = 0.005
"""The pause after `TEXTS_AT_ONCE` texts, in which requests have the interpreter."""
log = structlog.get_logger("service.drift")


@dataclass(frozen=True, slots=True)
class HeldTexts:
    """Texts that one model has tagged, until they are counted."""

    model: ServedModel
    texts: "list[tuple[Document, Tagged]]"

    @property
    def n_words(self) -> int:
        """Of all of them."""
        return sum(tagged.n_words for _, tagged in self.texts)


class DriftIntake:
    """Decides which texts are looked at, and holds them until then.

    Bounded in texts, by a token bucket that starts full, and in words.
    """

    def __init__(
        self, per_second: float, capacity: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._per_second = per_second
        self._capacity = capacity
        self._clock = clock
        self._level = float(capacity)
        self._filled = clock()
        self._lock = Lock()
        self._held: deque[HeldTexts] = deque()
        self._held_words = 0
        self._n_passed = 0

    def offer(
        self, model: ServedModel, documents: "Sequence[Document]", tagged: "Sequence[Tagged]"
    ) -> None:
        """Take some of a request's texts, evenly spread over it; the others pass.

        For any thread.
        """
        has_reference = bool(model.predictor.manifest.reference.features)
        with self._lock:
            has_room = has_reference and self._held_words < MOST_HELD_WORDS
            n_texts = self._take_tokens(len(documents)) if has_room else 0
            self._n_passed += len(documents) - n_texts
            if n_texts:
                places = [i * len(documents) // n_texts for i in range(n_texts)]
                held = HeldTexts(model, [(documents[i], tagged[i]) for i in places])
                self._held_words += held.n_words
                self._held.append(held)

    def _take_tokens(self, wanted: int) -> int:
        now = self._clock()
        level = self._level + (now - self._filled) * self._per_second
        self._filled = now
        taken = 0
        if level >= 1:
            level = min(level, self._capacity)
            taken = min(wanted, int(level))
        self._level = level - taken
        return taken

    def release(self) -> Iterator[HeldTexts]:
        """Yield what is held now, a few texts at a time.

        What comes meanwhile waits for the next round, or none would end.
        """
        for _ in range(len(self._held)):
            held = self._held.popleft()
            for start in range(0, len(held.texts), TEXTS_AT_ONCE):
                yield HeldTexts(held.model, held.texts[start : start + TEXTS_AT_ONCE])
            with self._lock:
                self._held_words -= held.n_words

    def take_passed(self) -> int:
        """How many texts have passed since this was last asked."""
        with self._lock:
            n_passed, self._n_passed = self._n_passed, 0
        return n_passed


class Drift:
    """Compares live texts with the reference in their model's file.

    Its thread begins with the first text.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, served: Callable[[], Collection[str]]
    ) -> None:
        """Take the names of the served models from `served`."""
        most_texts = -(-settings.drift_window_texts // settings.workers)
        self._enabled = settings.metrics and most_texts > 0
        self._intake = DriftIntake(settings.drift_texts_per_second, most_texts)
        self._windows = DriftWindows(most_texts, served)
        self._metrics = metrics
        self._seen, self._passed = (
            metrics.drift_texts.labels(outcome) for outcome in ("seen", "passed")
        )
        self._wake, self._closing = Event(), Event()
        self._starting = Lock()
        self._thread: Thread | None = None
        if self._enabled:
            metrics.add(DriftMetrics(metrics.files, served))

    def observe(
        self, model: ServedModel, documents: "Sequence[Document]", tagged: "Sequence[Tagged]"
    ) -> None:
        """Take note of texts and of what was found in them, in next to no time. For any thread."""
        if not self._enabled or not documents:
            return
        self._intake.offer(model, documents, tagged)
        if self._thread is None:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Count what is held, and end the thread. Nothing is to be observed any more."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="drift", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(IDLE_SECONDS)
            self._wake.clear()
            self._round()
            self._closing.wait(PAUSE_SECONDS)
        self._round()

    def _round(self) -> None:
        """Count what is held, forget what is old, and tell the others."""
        n_seen = n_at_once = 0
        for held in self._intake.release():
            self._windows.count(held.model, held.texts)
            n_seen += len(held.texts)
            n_at_once += len(held.texts)
            # not after each request: a breath costs ten times what a text does
            if n_at_once >= TEXTS_AT_ONCE:
                self._closing.wait(BREATH_SECONDS)
                n_at_once = 0
        self._seen.inc(n_seen)
        self._passed.inc(self._intake.take_passed())
        if self._windows.forget() or n_seen:
            self._tell()

    def _tell(self) -> None:
        try:
            self._metrics.files.write(SUBJECT, self._windows.as_documents())
        except OSError as error:
            log.error("counts of texts cannot be shared", fault=error.strerror)
