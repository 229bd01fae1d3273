"""A service around a model that is plain enough to know its answers by heart."""

import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, TextIO

import httpx
import pytest
import structlog
from fastapi import FastAPI

from teddy.model.drift.reference import Reference
from teddy.model.reasons.explanation import (
    ExplainedEntity,
    Explanation,
    ReadSentence,
    ReadWord,
)
from teddy.model.tags.search import Search
from teddy.model.text.documents import Reading, SentenceReadings
from teddy.model.text.words import Text
from teddy.service.app import create_app
from teddy.service.settings import Settings

LABELS = ("UPPER", "LONG")
FAULTY = "Kaputt"


class StreamWriter:
    """A writer for `configure_logs` that writes to a text stream at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: bytes, *, urgent: bool = False) -> None:  # noqa: ARG002 (every line is)
        self._stream.write(line.decode("ascii"))


@dataclass(frozen=True)
class FakeEntity:
    start: int
    end: int
    label: str
    score: float
    text: str
    source: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class FakeToken:
    start: int
    end: int
    tag: str
    score: float


@dataclass(frozen=True)
class FakeTagged:
    entities: list[FakeEntity]
    tokens: list[FakeToken]
    sentences: Sequence[SentenceReadings] = ()
    used_rules: tuple[str, ...] = ()

    def read_tokens(self) -> Iterator[FakeToken]:
        return iter(self.tokens)

    @property
    def n_words(self) -> int:
        return len(self.tokens)

    @property
    def n_tagged_words(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class FakeWindow:
    words: list[str]

    @property
    def n_words(self) -> int:
        return len(self.words)


class FakeWindows(list[FakeWindow]):
    @property
    def n_words(self) -> int:
        return sum(each.n_words for each in self)


@dataclass(frozen=True)
class FakeDocument:
    text: Text
    offsets: list[tuple[int, int]]
    windows: FakeWindows


@dataclass(frozen=True)
class FakePlan:
    """Asks for each entity alone, and gives one reason for it: the entity itself."""

    document: FakeDocument
    entities: Sequence[Any]

    @property
    def cost(self) -> int:
        return sum(each.n_words for each in self.questions)

    @property
    def questions(self) -> FakeWindows:
        return FakeWindows(FakeWindow([each.text or "-"]) for each in self.entities)

    def explain(self, answers: Sequence[str]) -> Explanation:
        reasons: dict[str, Any] = {
            "left_only": 0.5,
            "right_only": 0.25,
            "alone": 0.125,
            "without": [0.0],
        }
        words = [ReadWord(each.start, each.end, each.text, known=True) for each in self.entities]
        sentences = [ReadSentence(each.start, each.end, [each], []) for each in words]
        entities = [
            ExplainedEntity(entity=each, sentence=i, probability=each.score, **reasons)
            for i, each in enumerate(self.entities)
        ]
        assert len(answers) == len(entities)
        return Explanation(self.document.text, entities, sentences)


class FakeReasons:
    def plan(
        self,
        document: FakeDocument,
        entities: Sequence[Any] | None,
        spans: Sequence[tuple[int, int, str]] = (),
    ) -> FakePlan:
        if entities is None:
            entities = [
                FakeEntity(start, end, label, 0.5, quoted(document.text[start:end]))
                for start, end, label in spans
            ]
        return FakePlan(document, entities)

    def answer(self, questions: Sequence[FakeWindow]) -> list[str]:
        return [word for question in questions for word in question.words]


class FakeManifest:
    language = "xx"
    labels = LABELS
    reference = Reference(features={})
    created = "2024-01-01T00:00:00Z"
    scores = {"dev": {"micro": {"f1": 1.0}}}  # noqa: RUF012

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": "fake",
            "language": self.language,
            "created": self.created,
            "n_parameters": 0,
            "network": {"layers": 0},
            "scores": {"f1": 1.0},
            "training_data": [{"name": "none", "licence": "CC0-1.0"}],
            "recipe": "seed = 1",
        }


@dataclass
class FakeTagger:
    padding_words: int = 0


def quoted(said: Text) -> str:
    return said if isinstance(said, str) else " ".join(said)


@dataclass
class FakePredictor:
    """Calls a word that is not lower case UPPER, or LONG if it has more than ten characters.

    Ten words are a window.

    `predict` waits for `gate`, says by `entered` that it has begun, and fails on the word in
    FAULTY."""

    version: str = "0123456789ab"
    precision: str = "fp32"
    manifest: FakeManifest = field(default_factory=FakeManifest)
    gate: Event = field(default_factory=Event)
    entered: Event = field(default_factory=Event)
    batches: list[list[FakeWindow]] = field(default_factory=list)
    tagger: FakeTagger = field(default_factory=FakeTagger)
    rules: None = None

    @property
    def labels(self) -> tuple[str, ...]:
        return self.manifest.labels

    reasons: FakeReasons = field(default_factory=FakeReasons)

    def __post_init__(self) -> None:
        self.gate.set()

    def prepare(self, text: Text) -> FakeDocument:
        if isinstance(text, str):
            offsets = [match.span() for match in re.finditer(r"\S+", text)]
            words = [text[start:end] for start, end in offsets]
        else:
            offsets = [(i, i + 1) for i in range(len(text))]
            words = list(text)
        windows = (FakeWindow(words[i : i + 10]) for i in range(0, len(words), 10))
        return FakeDocument(text, offsets, FakeWindows(windows))

    def cut_by(self, sentences: str) -> Callable[[Text], FakeDocument]:
        """Return `prepare`, or for `lines` one that makes a window of each line."""
        if sentences != "lines":
            return self.prepare

        def prepare(text: Text) -> FakeDocument:
            if not isinstance(text, str):
                return self.prepare(text)
            windows = FakeWindows(FakeWindow(line.split()) for line in text.split("\n"))
            return replace(self.prepare(text), windows=windows)

        return prepare

    def predict(self, windows: Sequence[FakeWindow]) -> list[list[str]]:
        self.entered.set()
        if not self.gate.wait(timeout=30):
            raise RuntimeError("nobody opened the gate")
        self.batches.append(list(windows))
        if any(FAULTY in window.words for window in windows):
            raise ValueError(f"cannot read {[window.words for window in windows]}")
        return [[self.tag(word) for word in window.words] for window in windows]

    @staticmethod
    def tag(word: str) -> str:
        return "O" if word == word.lower() else "S-LONG" if len(word) > 10 else "S-UPPER"

    def assemble(self, document: FakeDocument, outputs: Sequence[list[str]]) -> FakeTagged:
        tags = [tag for output in outputs for tag in output]
        places = list(zip(document.offsets, tags, strict=True))
        scores = {"UPPER": 0.9, "LONG": 0.4}
        entities = [
            FakeEntity(start, end, tag[2:], scores[tag[2:]], quoted(document.text[start:end]))
            for (start, end), tag in places
            if tag != "O"
        ]
        return FakeTagged(
            entities, [FakeToken(start, end, tag, 1.0) for (start, end), tag in places]
        )

    def search(self, threshold: float | dict[str, float] | None, n_best: int) -> Search | None:
        return Search.of(LABELS, threshold, n_best)

    def searching(self, _: Search) -> Callable[[Sequence[FakeWindow]], list[list[str]]]:
        return self.predict

    def finish(
        self, document: FakeDocument, _: Sequence[list[str]], search: Search, tagged: FakeTagged
    ) -> FakeTagged:
        """Take words in lower case for LONG with a probability of 0.2; a reading is one word."""
        least = dict(zip(LABELS, search.thresholds or (1.0, 1.0), strict=True))
        words = [
            FakeEntity(start, end, "LONG", 0.2, quoted(document.text[start:end]))
            for start, end in document.offsets
        ]
        known = {each.start: each for each in tagged.entities}
        every = [known.get(each.start, each) for each in words]
        entities = [each for each in every if each.score >= least.get(each.label, 1.0)]
        readings = [Reading(each.score, [each]) for each in every][: search.n_best]  # type: ignore[list-item]
        sentences = [SentenceReadings(words[0].start, words[-1].end, readings)] if words else []
        return replace(
            tagged,
            entities=entities if search.thresholds else tagged.entities,
            sentences=sentences if search.n_best else (),
        )


Load = Callable[[Path | None], Any]
Serving = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def predictor() -> Iterator[FakePredictor]:
    """The model behind `serving`; its gate is opened in the end, whatever the test did."""
    predictor = FakePredictor()
    yield predictor
    predictor.gate.set()


@pytest.fixture
def serving(predictor: FakePredictor) -> Serving:
    """Serve `predictor` with the given settings, in this process: `async with serving(max_texts=3)
    as client`."""

    @asynccontextmanager
    async def serve(
        *, wait: bool = True, load: Load | None = None, **settings: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        def load_predictor(_: Path | None) -> Any:
            return predictor

        app = create_app(Settings(**settings), load or load_predictor)
        async with running(app, wait=wait), client_of(app) as client:
            yield client

    return serve


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service with its default settings."""
    async with serving() as client:
        yield client


@asynccontextmanager
async def running(app: FastAPI, *, wait: bool) -> AsyncIterator[None]:
    """The life of an app; if `wait`, from when it is ready."""
    async with app.router.lifespan_context(app):
        if wait:
            await app.state.loading
        yield


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    return httpx.AsyncClient(
        transport=transport, base_url="http://teddy", headers={"Content-Type": "application/json"}
    )


@pytest.fixture(autouse=True)
def _default_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are what the test says, whatever the environment has."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TEDDY_{name.upper()}", raising=False)


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    """Nothing is logged, unless a test configures logs, and nothing that it configures outlives
    it."""
    handlers, level = logging.root.handlers, logging.root.level
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
    logging.root.handlers = handlers
    logging.root.setLevel(level)
