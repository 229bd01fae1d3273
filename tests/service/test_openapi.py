from collections.abc import Iterator
from typing import Any

import pytest
from httpx import AsyncClient
from pydantic import BaseModel

from teddy.service import schemas
from teddy.service.http.problems import REFUSALS

pytestmark = pytest.mark.anyio


def references(node: Any) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


async def test_the_document_is_whole(client: AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert (await client.get("/openapi.json")).json() == document
    assert set(document["paths"]) == {
        "/v1/entities",
        "/v1/entities/batch",
        "/v1/models",
        "/v1/models/{name}",
        "/v1/models/{name}/rules",
        "/v1/models/{name}/reload",
        "/v1/entities/stream",
        "/v1/explain",
        "/v1/feedback",
        "/v1/redact",
        "/v1/redact/batch",
        "/v1/redact/stream",
        "/v1/restore",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known


async def test_bodies_are_documented_and_refuse_unknown_fields(client: AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, name in (
        ("/v1/entities", "EntitiesRequest"),
        ("/v1/entities/batch", "BatchRequest"),
        ("/v1/explain", "ExplainRequest"),
    ):
        body = document["paths"][path]["post"]["requestBody"]
        assert body["required"] is True
        assert body["content"]["application/json"]["schema"] == {
            "$ref": f"#/components/schemas/{name}"
        }
        assert document["components"]["schemas"][name]["additionalProperties"] is False


async def test_every_problem_is_documented_as_one(client: AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path in document["paths"].values():
        for operation in path.values():
            for status, described in operation["responses"].items():
                if not status.startswith("2"):
                    content = described["content"]
                    assert list(content) == ["application/problem+json"]
                    assert content["application/problem+json"]["schema"] == {
                        "$ref": "#/components/schemas/Problem"
                    }
    statuses = set(document["paths"]["/v1/entities"]["post"]["responses"])
    assert statuses == {
        "200",
        "400",
        "401",
        "404",
        "408",
        "413",
        "415",
        "422",
        "429",
        "431",
        "500",
        "501",
        "503",
        "504",
        "505",
    }
    for path in document["paths"].values():
        for operation in path.values():
            assert {str(refusal.status) for refusal in REFUSALS} <= set(operation["responses"])


@pytest.mark.parametrize(
    ("method", "path", "body", "model"),
    [
        ("POST", "/v1/entities", {"text": "Ada", "tokens": True}, schemas.EntitiesResponse),
        ("POST", "/v1/entities", {"text": "Ada"}, schemas.EntitiesResponse),
        (
            "POST",
            "/v1/entities/batch",
            {"texts": ["Ada", ""], "tokens": True},
            schemas.BatchResponse,
        ),
        ("GET", "/v1/models", None, schemas.ModelsResponse),
        ("GET", "/v1/models/en", None, schemas.ModelDetails),
        ("GET", "/health/live", None, schemas.Health),
        ("GET", "/health/ready", None, schemas.Health),
        ("POST", "/v1/entities", {"txet": "Ada"}, schemas.Problem),
        ("GET", "/v1/models/xx", None, schemas.Problem),
    ],
)
async def test_every_answer_is_as_documented_with_nothing_more(
    client: AsyncClient, method: str, path: str, body: object, model: type[BaseModel]
) -> None:
    answer = (await client.request(method, path, json=body)).json()
    assert model.model_validate(answer).model_dump(exclude_none=True) == answer
    documented = (await client.get("/openapi.json")).json()["components"]["schemas"][model.__name__]
    assert set(documented["required"]) <= set(answer) <= set(documented["properties"])
