"""The kinds of clients that a service has, each a coroutine that goes on until it is stopped."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from benchmarks.load.connection import BrokenConnectionError, Connection
from benchmarks.load.question import Entities, Found, Question, alike, problem_fault
from teddy.service.client import AsyncClient, Result

Item = TypeVar("Item")

BAD_BODIES = (
    b"",
    b"{",
    b'{"text": "\xff"}',
    b'{"text": "\\ud800"}',
    b'{"txet": "a"}',
    b'{"text": "a", "min_score": 7}',
    b'{"text": "a", "labels": ["NO-SUCH-LABEL"]}',
    b"[" * 10_000,
)
PAUSE_SECONDS = 0.05
CRAWL_SECONDS = 0.5
STREAM_TEXTS = 40


@dataclass(slots=True)
class Account:
    """What the clients here have had, beside those of the load generator."""

    statuses: Counter[int] = field(default_factory=Counter)
    left: int = 0
    """Send requests without waiting for their answers."""
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Clients:
    """All of them share a port, a key's header and an account."""

    port: int
    authorization: str
    account: Account
    stopped: bool = False

    async def mistaken(self) -> None:
        """Sends what is no request, and wants a problem with its request's id."""
        for body in self._again(BAD_BODIES):
            question = Question(
                path="/v1/entities", body=body, found=None, headers=(self.authorization,)
            )
            connection = await Connection.open("127.0.0.1", self.port)
            answer = await connection.ask(*question.request(b"mistaken"))
            await connection.end()
            self.account.statuses[answer.status] += 1
            if answer.status != 422 or problem_fault(answer, b"mistaken"):
                self.account.faults.append(f"{body[:20]!r} was answered by {answer.status}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def leaving(self, questions: Sequence[Question]) -> None:
        """Asks and hangs up, sooner or later."""
        draw = random.Random(1)  # noqa: S311
        for question in self._again(questions):
            connection = await Connection.open("127.0.0.1", self.port)
            connection.send(b"".join(question.request(b"leaving")))
            await asyncio.sleep(draw.expovariate(1 / PAUSE_SECONDS))
            if draw.random() < 0.5:
                connection.abort()
            await connection.end()
            self.account.left += 1

    async def crawling(self, questions: Sequence[Question]) -> None:
        """Send a request in a few pieces with pauses between them, which is slow but allowed."""
        for question in self._again(questions):
            connection = await Connection.open("127.0.0.1", self.port)
            whole = b"".join(question.request(b"crawling"))
            third = len(whole) // 3
            connection.send(whole[:third])
            await asyncio.sleep(CRAWL_SECONDS)
            connection.send(whole[third : 2 * third])
            await asyncio.sleep(CRAWL_SECONDS)
            with suppress(BrokenConnectionError):
                answer = await connection.ask(whole[2 * third :])
                self.account.statuses[answer.status] += 1
                if fault := question.fault(answer, b"crawling"):
                    self.account.faults.append(f"crawling: {fault}")
            await connection.end()

    async def streaming(self, texts: Sequence[str], found: Found) -> None:
        """Streams texts through the Python client, and compares what comes back, in order."""
        key = self.authorization.rpartition(" ")[2]
        expected = next(iter(found.values()))
        async with AsyncClient(f"http://127.0.0.1:{self.port}", api_key=key) as client:
            starts = range(0, len(texts) - STREAM_TEXTS, STREAM_TEXTS)
            for start in self._again(starts):
                part = slice(start, start + STREAM_TEXTS)
                given = [result async for result in client.stream(texts[part])]
                self.account.statuses[200] += 1
                self._look(given, expected[part])

    def _look(self, given: Sequence[object], expected: Sequence[Entities]) -> None:
        entities = [
            [asdict(entity) for entity in each.entities]
            for each in given
            if isinstance(each, Result)
        ]
        if len(entities) < len(expected) or not all(map(alike, entities, expected)):
            self.account.faults.append("a stream gave wrong entities")

    def _again(self, items: Sequence[Item]) -> Iterator[Item]:
        while True:
            for item in items:
                if self.stopped:
                    return
                yield item
