"""A client of the service: `Client`, and `AsyncClient` for asyncio and trio.

    from service.client import Client

    with Client("http://localhost:8000") as teddy:
        for entity in teddy.tag("Ada met Grace in Oslo.").entities:
            print(entity.label, entity.text, entity.score)

It needs the extra `teddy[client]`, and neither torch nor FastAPI.
"""

from service.client.asynchronous import AsyncClient
from service.client.blocking import Client
from service.client.calls import Options
from service.client.errors import ClientError, StreamBrokenError, TeddyServiceError, UnreachableError
from service.client.results import (
    AnswerReference,
    Corrected,
    Entity,
    ModelDetails,
    ModelSummary,
    ModelVersion,
    Refusal,
    Reload,
    Result,
    Token,
)
from service.client.retries import RetryPolicy, Timing

__all__ = [
    "AnswerReference",
    "AsyncClient",
    "Client",
    "ClientError",
    "Corrected",
    "Entity",
    "ModelDetails",
    "ModelSummary",
    "ModelVersion",
    "Options",
    "Refusal",
    "Reload",
    "Result",
    "RetryPolicy",
    "StreamBrokenError",
    "TeddyServiceError",
    "Timing",
    "Token",
    "UnreachableError",
]
