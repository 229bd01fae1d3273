"""A client of the service: `Client`, and `AsyncClient` for asyncio and trio.

    from teddy import Client

    with Client("http://localhost:8000") as teddy:
        for entity in teddy.tag("Ada met Grace in Oslo.").entities:
            print(entity.label, entity.text, entity.score)

It needs httpx, which the extra `teddy[client]` brings, and nothing else of Teddy: the distribution
`teddy-client` has this package alone.
"""

from teddy.service.client.asynchronous import AsyncClient
from teddy.service.client.blocking import Client
from teddy.service.client.calls import ExplainOptions, Options
from teddy.service.client.conduct import RetryPolicy, Timing
from teddy.service.client.errors import (
    ClientError,
    StreamBrokenError,
    TeddyServiceError,
    UnreachableError,
    UsageError,
)
from teddy.service.client.explanations import (
    ExplainedEntity,
    Explanation,
    Guess,
    ReadSentence,
    ReadWord,
    SentenceReading,
)
from teddy.service.client.redaction import Redacted, RedactedItem, RedactOptions, Restored
from teddy.service.client.results import (
    AnswerReference,
    Corrected,
    Entity,
    ModelDetails,
    ModelSummary,
    ModelVersion,
    Reading,
    Refusal,
    Reload,
    Result,
    Sentence,
    Token,
)

__all__ = [
    "AnswerReference",
    "AsyncClient",
    "Client",
    "ClientError",
    "Corrected",
    "Entity",
    "ExplainOptions",
    "ExplainedEntity",
    "Explanation",
    "Guess",
    "ModelDetails",
    "ModelSummary",
    "ModelVersion",
    "Options",
    "ReadSentence",
    "ReadWord",
    "Reading",
    "RedactOptions",
    "Redacted",
    "RedactedItem",
    "Refusal",
    "Reload",
    "Restored",
    "Result",
    "RetryPolicy",
    "Sentence",
    "SentenceReading",
    "StreamBrokenError",
    "TeddyServiceError",
    "Timing",
    "Token",
    "UnreachableError",
    "UsageError",
]
