"""How a client calls: what it packs, how long it waits, and when it tries again."""

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

import httpx

from teddy.service.client.calls import Call, Text, size_of
from teddy.service.client.errors import UnreachableError, UsageError, read_problem

LEAST_SECONDS = 0.001
WORTH_ANOTHER_TRY = (
    httpx.NetworkError,
    httpx.RemoteProtocolError,
    httpx.TimeoutException,
    TimeoutError,
)
CANNOT_BE_SENT = (httpx.InvalidURL, UnicodeError, RuntimeError)
"""What httpx raises besides its RequestError: names that are none, and a client that is closed."""
KEY = re.compile("[!-~]+")
HOST = re.compile(rb"[\w.-]+|[\dA-Fa-f:.]+(%[\w.%-]+)?")
LAST_PORT = 65535
FRESH = httpx.Limits(max_keepalive_connections=0)
"""For a call that may be sent only once: a connection that was kept may have been closed by the
service just now, and then it is unknown whether the call has arrived."""

BATCH_TEXTS = 256
BATCH_CHARACTERS = 2**18
STREAM_LINES = 512
STREAM_BYTES = 2**17
"""Both of a stream's are half of what the service takes in before anything of its answer must have
been read."""
Item = TypeVar("Item", Text, bytes)
Transport = httpx.BaseTransport | httpx.AsyncBaseTransport | None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a call is tried, and how long it pauses in between.

    The n-th pause is drawn between nothing and `first_pause_seconds * 2^(n-1)`, at most
    `longest_pause_seconds`, so that clients which failed together do not come back together. Where
    the service says when to come back, it is then.
    """

    attempts: int = 5
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 10.0
    statuses: frozenset[int] = frozenset({429, 502, 503})
    """Answers that may be different next time. 504 is none by default: the text that took too long
    will again."""

    def longest_pause(self, failed: int) -> float:
        """Return what the pause after that many failures is drawn from."""
        return min(
            self.first_pause_seconds * 2.0 ** min(failed - 1, 64), self.longest_pause_seconds
        )


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks, in seconds, and the dice (from 0 to 1) that a client goes by."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    draw: Callable[[], float] = random.random


class Tries:
    """One call until it is answered, or until its time or its attempts are used up."""

    def __init__(
        self, call: Call, policy: RetryPolicy, timing: Timing, timeout_seconds: float
    ) -> None:
        self._attempts = policy.attempts if call.repeatable else 1
        self._policy = policy
        self._timing = timing
        self._ends = timing.monotonic() + timeout_seconds
        self._failed = 0

    @property
    def remaining_seconds(self) -> float:
        """What is left of the call's time."""
        return max(self._ends - self._timing.monotonic(), LEAST_SECONDS)

    def after_failure(self, error: httpx.RequestError | TimeoutError) -> float:
        """Return the pause before the next try. Raises UnreachableError if there is none."""
        pause_seconds = self._pause(None) if isinstance(error, WORTH_ANOTHER_TRY) else None
        if pause_seconds is None:
            raise UnreachableError(f"no answer: {error or type(error).__name__}") from error
        return pause_seconds

    def after_answer(self, response: httpx.Response) -> float | None:
        """Return the pause before the next try; None if the call has succeeded.

        Raises TeddyServiceError if there is none.
        """
        if response.is_success:
            return None
        retry_after_seconds = read_retry_after(
            response.headers.get("Retry-After"), self._timing.wall()
        )
        pause_seconds = (
            self._pause(retry_after_seconds)
            if response.status_code in self._policy.statuses
            else None
        )
        if pause_seconds is None:
            raise read_problem(response, retry_after_seconds)
        return pause_seconds

    def _pause(self, retry_after_seconds: float | None) -> float | None:
        self._failed += 1
        if retry_after_seconds is None:
            pause_seconds = self._policy.longest_pause(self._failed) * self._timing.draw()
        else:
            pause_seconds = retry_after_seconds
        too_late = self._timing.monotonic() + pause_seconds >= self._ends
        return None if too_late or self._failed >= self._attempts else pause_seconds


def read_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds of a Retry-After, as a number or a date; None if it is neither.

    `now` is the wall clock's time, in seconds since 1970.
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Conduct:
    """See `Client` for what each means."""

    timeout_seconds: float
    retries: RetryPolicy
    timing: Timing
    gzip_from_bytes: int

    def packed(self, call: Call) -> Call:
        """Return a call as it is sent."""
        return call.packed() if len(call.content) >= self.gzip_from_bytes else call

    def tries(self, call: Call) -> Tries:
        """Return a call that begins now."""
        return Tries(call, self.retries, self.timing, self.timeout_seconds)

    def request(
        self, http: httpx.Client | httpx.AsyncClient, call: Call, tries: Tries
    ) -> httpx.Request:
        """One try of a call, which tells the service how long its answer is waited for."""
        seconds = tries.remaining_seconds
        headers = {**call.headers, "X-Request-Timeout": f"{seconds:.3f}"}
        return http.build_request(
            call.method,
            call.path,
            content=call.content or None,
            headers=headers,
            params=dict(call.parameters),
            timeout=seconds,
        )


def connecting(base_url: str, api_key: str | None, transport: Transport) -> dict[str, Any]:
    """Return the options of httpx's clients. Raises UsageError, which never shows the key."""
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError) as error:
        raise UsageError(f"base_url: {error}") from error
    is_host, is_port = HOST.fullmatch(url.raw_host), (url.port or 0) <= LAST_PORT
    if url.scheme not in ("http", "https") or not is_host or not is_port:
        raise UsageError("base_url: it must be http:// or https://, a host, and maybe a port")
    if api_key is not None and not KEY.fullmatch(api_key):
        raise UsageError(
            "api_key: it must be visible ASCII characters alone, without a line break at its end"
        )
    return {
        "base_url": url,
        "headers": {} if api_key is None else {"Authorization": f"Bearer {api_key}"},
        "transport": transport,
        "verify": transport is not None or httpx.create_ssl_context(),
    }


class Chunks(Generic[Item]):
    """Collects items into chunks of at most `most_items`, and of `most_size` characters or bytes.

    An item that is larger is a chunk of its own.
    """

    def __init__(self, most_items: int, most_size: int) -> None:
        if most_items < 1:
            raise ValueError(f"at least one text must travel at a time, not {most_items}")
        self._most_items = most_items
        self._most_size = most_size
        self._items: list[Item] = []
        self._size = 0

    def of(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """All the items in chunks. No item is taken before those of the last chunk were of use."""
        for item in items:
            yield from self.add(item)
        yield from self.rest()

    def add(self, item: Item) -> Iterator[list[Item]]:
        """Put one more; gives the chunks that are complete now."""
        size = len(item) if isinstance(item, bytes) else size_of(item)
        if self._items and self._size + size > self._most_size:
            yield self._take()
        self._items.append(item)
        self._size += size
        if len(self._items) == self._most_items or self._size >= self._most_size:
            yield self._take()

    def rest(self) -> Iterator[list[Item]]:
        """Yield what is left when there are no more items."""
        if self._items:
            yield self._take()

    def _take(self) -> list[Item]:
        items, self._items, self._size = self._items, [], 0
        return items
