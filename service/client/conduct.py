"""How a client calls, be it blocking or not: how long it waits, how often it tries, what it packs."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from teddy.service.client.calls import Call
from teddy.service.client.retries import RetryPolicy, Timing, Tries

BATCH_TEXTS = 256
BATCH_CHARACTERS = 2**18
STREAM_LINES = 512
STREAM_BYTES = 2**17
"""Both of a stream's are half of what the service takes in before anything of its answer must have been read."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """See `Client` for what each means."""

    timeout_seconds: float
    retries: RetryPolicy
    timing: Timing
    gzip_from_bytes: int

    def packed(self, call: Call) -> Call:
        """A call as it is sent."""
        return call.packed() if len(call.content) >= self.gzip_from_bytes else call

    def tries(self, call: Call) -> Tries:
        """A call that begins now."""
        return Tries(call, self.retries, self.timing, self.timeout_seconds)

    def request(self, http: httpx.Client | httpx.AsyncClient, call: Call, tries: Tries) -> httpx.Request:
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


def credentials(api_key: str | None) -> Mapping[str, str]:
    """The header that shows a key."""
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
