"""One soak: a server, all kinds of clients, a model replaced again and again, memory watched."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import cycle, islice, repeat
from math import inf
from pathlib import Path
from statistics import median_low
from time import monotonic

import teddy
from benchmarks.load.connection import Connection
from benchmarks.load.generator import Load
from benchmarks.load.model_files import redated, version_of
from benchmarks.load.processes import resident_bytes
from benchmarks.load.question import Found, Question, batch_questions, entities_of, single_questions
from benchmarks.load.server import Server, counted_statuses
from benchmarks.load.tally import Tally
from benchmarks.soak.traffic import Account, Clients
from benchmarks.texts import made_up_paragraphs, mixed_texts, short_texts
from teddy.model.system.files import write_atomically

KEY = "soak-soak-soak-soak"
AUTHORIZATION = f"Authorization: Bearer {KEY}"
NAME = "soaked"
TINY = b'{"text":"Oslo"}'
N_SHORT, N_MIXED = 3000, 300
BATCH_SIZES = (1, 8, 32, 100)
RELOAD_SECONDS = 10.0
SAMPLE_SECONDS = 5.0
WARM_SHARE, WARM_SECONDS = 0.1, 60.0
"""Of the time, and at least, if that is not more than half: before it, memory is not compared."""
MOST_GROWTH = 0.05
ROUTES = ("/v1/entities", "/v1/entities/batch", "/v1/entities/stream")
QUIET_SECONDS = 30.0


@dataclass(slots=True, kw_only=True)
class Soaked:
    """What one soak has found."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    """Answers that clients had."""
    counted: Counter[int] = field(default_factory=Counter)
    """Answers by the service's own count."""
    left: int = 0
    """Requests whose clients did not wait."""
    words: int = 0
    reloads: int = 0
    faults: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the start, and resident bytes."""
    warm_bytes: int = 0
    end_bytes: int = 0
    exit_status: int = 0

    def fields(self) -> dict[str, object]:
        """For JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def growth(self) -> float:
        """Of memory since it was warm, as a share."""
        return self.end_bytes / self.warm_bytes - 1

    @property
    def adds_up(self) -> bool:
        """Return whether the service counted each answer, and else only those of clients gone."""
        return (
            not self.statuses - self.counted and (self.counted - self.statuses).total() == self.left
        )

    @property
    def is_right(self) -> bool:
        """Whether nothing is to be complained of."""
        return (
            not self.faults
            and self.adds_up
            and self.growth <= MOST_GROWTH
            and self.exit_status == 0
        )


def warm_seconds(seconds: float) -> float:
    """After which a server has seen enough for what it keeps to be there."""
    return max(WARM_SHARE * seconds, min(WARM_SECONDS, seconds / 2))


async def soak(
    model_file: Path | None, workers: int, seconds: float, n_tiny: int, folder: Path
) -> Soaked:
    """All kinds of clients for so long, then so many tiny requests, at a server of their own.

    Raises ServerError if it does not start.
    """
    contents = versions(model_file)
    file = folder / "served.teddy"
    write_atomically(file, contents[0])
    shorts, mixed = texts()
    predictor = teddy.load(file)
    known = {predictor.version: entities_of(predictor, shorts)}
    known_mixed = {predictor.version: entities_of(predictor, mixed)}
    settings = {
        "api_keys": f"admin:{KEY}",
        "precision": predictor.precision,
        "reload_poll_seconds": 1,
    }
    with Server.teddy(
        folder / "log", "--workers", str(workers), "--model", f"{NAME}={file}", settings=settings
    ) as server:
        await server.all_ready(workers)
        traffic = Traffic(server, file, contents, seconds, n_tiny)
        return await traffic.run(shorts, known, mixed, known_mixed)


def versions(model_file: Path | None) -> tuple[bytes, bytes]:
    """Two files that find the same and have different versions."""
    shipped = Path(teddy.__file__).parent / "model" / "pretrained" / "en.teddy"
    content = (model_file or shipped).read_bytes()
    return content, redated(content)


def texts() -> tuple[list[str], list[str]]:
    """Short ones, and ones of all lengths."""
    paragraphs = made_up_paragraphs(seed=11)
    return list(islice(short_texts(paragraphs), N_SHORT)), list(
        islice(mixed_texts(paragraphs), N_MIXED)
    )


class Traffic:
    """Everything that happens to one server during a soak."""

    def __init__(
        self, server: Server, file: Path, contents: tuple[bytes, bytes], seconds: float, n_tiny: int
    ) -> None:
        self._server = server
        self._file = file
        self._contents = contents
        self._seconds = seconds
        self._n_tiny = n_tiny
        self._started = monotonic()
        self._found = Soaked()
        self._account = Account()
        self._clients = Clients(server.port, AUTHORIZATION, self._account)

    async def run(
        self, shorts: list[str], known: Found, mixed: list[str], known_mixed: Found
    ) -> Soaked:
        """The traffic, then the reckoning."""
        singles = self._asked(single_questions(shorts, known))
        batches = self._asked(batch_questions(shorts, known, cycle(BATCH_SIZES)))
        lengths = self._asked(single_questions(mixed, known_mixed))
        packed = [question.gzipped() for question in singles[:500] + batches[:20]]
        loads = [
            self._load("single", singles).closed(4, self._seconds),
            self._load("batch", batches).closed(2, self._seconds),
            self._load("mixed", lengths).open(2, self._seconds, 4),
            self._load("packed", packed).open(20, self._seconds, 4),
        ]
        others = [
            asyncio.create_task(each)
            for each in (
                self._clients.mistaken(),
                self._clients.leaving(batches),
                self._clients.crawling(singles),
                self._clients.streaming(shorts, known),
                self._replace(),
                self._watch_memory(),
            )
        ]
        tallies = await asyncio.gather(*loads)
        tallies.append(await self._tiny())
        self._clients.stopped = True
        await asyncio.gather(*others)
        for tally in tallies:
            self._found.statuses += tally.statuses
            self._found.words += tally.words
            self._found.faults += tally.faults
            unanswered = len(tally.broken) + tally.unreachable
            refused = tally.sent - tally.ok - len(tally.broken)
            self._found.faults += (
                [str(tally), *map(str, tally.broken)] if unanswered or refused else []
            )
        return await self._reckon()

    async def _tiny(self) -> Tally:
        question = Question(path="/v1/entities", body=TINY, found=None, headers=(AUTHORIZATION,))
        return await Load(self._server.port, repeat(question, self._n_tiny), name="tiny").closed(
            32, inf
        )

    def _asked(self, questions: list[Question]) -> list[Question]:
        known = [version_of(content) for content in self._contents]
        return [each.with_headers(AUTHORIZATION).for_versions(*known) for each in questions]

    def _load(self, name: str, questions: list[Question]) -> Load:
        first = random.Random(name).randrange(len(questions))  # noqa: S311
        return Load.of(self._server.port, questions, first, name)

    async def _replace(self) -> None:
        """Another file every few seconds: noticed by the service itself, or told to it, in turn."""
        for number, content in enumerate(self._turns(RELOAD_SECONDS), start=1):
            await asyncio.sleep(RELOAD_SECONDS)
            write_atomically(self._file, content)
            self._found.reloads += 1
            if number % 2:
                await self._ask_for_reload()

    async def _ask_for_reload(self) -> None:
        fields = f"Host: soak\r\n{AUTHORIZATION}\r\nContent-Length: 0"
        head = f"POST /v1/models/{NAME}/reload HTTP/1.1\r\n{fields}\r\n\r\n"
        connection = await Connection.open("127.0.0.1", self._server.port)
        answer = await connection.ask(head.encode())
        await connection.end()
        # 409: it has noticed by itself just now.
        if answer.status not in (200, 409):
            self._found.faults.append(
                f"a reload was answered by {answer.status}: {answer.body[:200]!r}"
            )

    def _turns(self, seconds: float) -> Iterator[bytes]:
        for content in cycle((self._contents[1], self._contents[0])):
            if self._clients.stopped or monotonic() - self._started > self._seconds - seconds:
                return
            yield content

    async def _watch_memory(self) -> None:
        while not self._clients.stopped:
            now = monotonic() - self._started
            self._found.memory.append((now, resident_bytes(self._server.pid)))
            await asyncio.sleep(min(SAMPLE_SECONDS, self._seconds / 20))

    async def _reckon(self) -> Soaked:
        found = self._found
        found.seconds = monotonic() - self._started
        found.statuses += self._account.statuses
        found.left = self._account.left
        found.faults += self._account.faults
        found.counted = await self._counted(found.statuses.total() + found.left)
        warm = [size for since, size in found.memory if since >= warm_seconds(self._seconds)]
        n = max(1, len(warm) // 10)
        found.warm_bytes, found.end_bytes = median_low(warm[:n]), median_low(warm[-n:])
        found.exit_status = await asyncio.to_thread(self._server.stop)
        return found

    async def _counted(self, total: int) -> Counter[int]:
        """The service's count, once it has seen that those who left have left."""
        end = monotonic() + QUIET_SECONDS
        while True:
            metrics = await self._server.metrics()
            counted = sum((counted_statuses(metrics, route) for route in ROUTES), Counter[int]())
            if counted.total() >= total or monotonic() > end:
                return counted
            await asyncio.sleep(0.1)
