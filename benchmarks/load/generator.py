"""Load: many connections that ask and check, in a closed loop or by a schedule.

A closed loop asks again when it is answered: what is measured is what a server can do. An open loop
asks when the schedule says so, whether the server keeps up or not, and counts latency from that
moment: a server that stalls is charged for all who would have come meanwhile. Times are
`time.monotonic()`: an event loop's own clock may be coarse."""

import asyncio
from asyncio import Queue
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle
from time import monotonic
from typing import Self

from benchmarks.load.connection import BrokenConnectionError, Connection
from benchmarks.load.question import Question
from benchmarks.load.tally import OK, Broken, Tally

LONGEST_SECONDS = 1e6
RETRY_SECONDS = 0.02
"""Between attempts to connect."""


@dataclass(slots=True)
class Load:
    """Asks `questions`, until they end, at `port` of this machine, and tallies the answers.

    Used by several connections at once; `stop` ends them after their next answer.
    """

    port: int
    questions: Iterator[Question]
    tally: Tally = field(default_factory=Tally)
    stopped: bool = False
    host: str = "127.0.0.1"
    connections: set[Connection] = field(default_factory=set)
    """Those that are open."""
    asking: dict[Connection, float] = field(default_factory=dict)
    """Connections whose request is not answered yet, and since when."""
    name: str = "load"
    _closing: list[Connection] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    @classmethod
    def of(
        cls, port: int, questions: Sequence[Question], start: int = 0, name: str = "load"
    ) -> Self:
        """The questions again and again, from any one on."""
        turned = [*questions[start % len(questions) :], *questions[: start % len(questions)]]
        return cls(port, cycle(turned), name=name)

    def stop(self) -> None:
        """Ask no more."""
        self.stopped = True

    async def closed(self, connections: int, seconds: float) -> Tally:
        """Ask over `connections`, each again once answered, for `seconds` or until stopped."""
        started = monotonic()
        timer = asyncio.get_running_loop().call_later(min(seconds, LONGEST_SECONDS), self.stop)
        await asyncio.gather(*(self._ask_again_and_again() for _ in range(connections)))
        timer.cancel()
        self.tally.seconds += monotonic() - started
        await self._close()
        return self.tally

    async def open(self, rate: float, seconds: float, connections: int) -> Tally:
        """Send `rate` requests a second over a limited number of connections."""
        due: Queue[float | None] = Queue()
        started = monotonic()
        askers = [asyncio.create_task(self._ask_when_due(due)) for _ in range(connections)]
        for number in range(int(rate * seconds)):
            moment = started + number / rate
            if moment > monotonic():
                await asyncio.sleep(moment - monotonic())
            if self.stopped:
                break
            due.put_nowait(moment)
        self.tally.seconds += monotonic() - started
        for _ in askers:
            due.put_nowait(None)
        await asyncio.gather(*askers)
        await self._close()
        return self.tally

    async def _ask_again_and_again(self) -> None:
        connection = None
        while not self.stopped and (question := next(self.questions, None)) is not None:
            connection = await self._ask(connection, question, monotonic())
        self._drop(connection)

    async def _ask_when_due(self, due: "Queue[float | None]") -> None:
        connection = None
        while (moment := await due.get()) is not None and (
            question := next(self.questions, None)
        ) is not None:
            connection = await self._ask(connection, question, moment)
        self._drop(connection)

    async def _ask(
        self, connection: Connection | None, question: Question, since: float
    ) -> Connection | None:
        """Ask, and give the connection if it can be used again."""
        if connection is None or not connection.is_open:
            self._drop(connection)
            connection = await self._connect()
            if connection is None:
                return None
        request_id = b"%s-%d" % (self.name.encode(), next(self._numbers))
        self.tally.sent += 1
        self.asking[connection] = sent = monotonic()
        try:
            answer = await connection.ask(*question.request(request_id))
        except BrokenConnectionError as error:
            self.tally.broken.append(Broken(connection.port, sent, str(error), error.partial))
            self._drop(connection)
            return None
        finally:
            self.asking.pop(connection, None)
        now = monotonic()
        self.tally.answered(answer.status, now - since)
        if fault := question.fault(answer, request_id):
            self.tally.wrong(fault)
        elif answer.status == OK:
            self.tally.words += question.n_words
            self.tally.last_ok = now
        if answer.closes:
            self._drop(connection)
            return None
        return connection

    async def _connect(self) -> Connection | None:
        try:
            connection = await Connection.open(self.host, self.port)
        except OSError:
            self.tally.unreachable += 1
            await asyncio.sleep(RETRY_SECONDS)
            return None
        self.connections.add(connection)
        return connection

    def _drop(self, connection: Connection | None) -> None:
        if connection is not None:
            connection.close()
            self.connections.discard(connection)
            self._closing.append(connection)

    async def _close(self) -> None:
        await asyncio.gather(*(connection.end() for connection in self._closing))
        self._closing.clear()


async def probe(port: int, request: bytes, rate: float, seconds: float) -> Tally:
    """Ask the same `rate` times a second on one connection; latency counts from the due time."""
    tally = Tally()
    connection = await Connection.open("127.0.0.1", port)
    started = monotonic()
    for number in range(int(rate * seconds)):
        moment = started + number / rate
        await asyncio.sleep(max(0.0, moment - monotonic()))
        tally.sent += 1
        answer = await connection.ask(request)
        tally.answered(answer.status, monotonic() - moment)
        if answer.closes or not connection.is_open:
            await connection.end()
            connection = await Connection.open("127.0.0.1", port)
    await connection.end()
    tally.seconds = monotonic() - started
    return tally


def get(path: str, *headers: str) -> bytes:
    """A GET as bytes."""
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: teddy", *headers, "", "")).encode()


def together(tallies: Iterable[Tally]) -> Tally:
    """All of them as one."""
    whole = Tally()
    for each in tallies:
        whole.add(each)
    return whole
