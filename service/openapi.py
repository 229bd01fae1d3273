"""What FastAPI cannot see of the endpoints by itself: bodies that they read themselves, and problems."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.schemas import BatchRequest, EntitiesRequest, Problem

REFERENCE = "#/components/schemas/{model}"

Description = dict[str, Any]


class DocumentedApp(FastAPI):
    """FastAPI, with the schemas in its documentation that `body_of` and `problems` refer to."""

    def openapi(self) -> Description:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["components"]["schemas"] |= component_schemas()
            drop_builtin_errors(document)
        return super().openapi()


def drop_builtin_errors(document: Description) -> None:
    """Take out the error that FastAPI documents for every operation with a parameter: here errors are problems."""
    builtin = {"$ref": REFERENCE.format(model="HTTPValidationError")}
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        described = operation["responses"].get("422", {}).get("content", {}).get("application/json", {})
        if described.get("schema") == builtin:
            del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def component_schemas() -> Description:
    """The schemas of request bodies and problems, by name."""
    models: tuple[type[BaseModel], ...] = (EntitiesRequest, BatchRequest, Problem)
    _, described = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    schemas: Description = described["$defs"]
    return schemas


def body_of(model: type[BaseModel]) -> Description:
    """An operation's description of its JSON body."""
    content = {"application/json": {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}}
    return {"requestBody": {"required": True, "content": content}}


def problems(*statuses: int) -> dict[int | str, Description]:
    """An operation's description of the problems that it may answer with."""
    schema = {"$ref": REFERENCE.format(model=Problem.__name__)}
    content = {"application/problem+json": {"schema": schema}}
    described: dict[int | str, Description] = {}
    for status in statuses:
        described[status] = {"description": HTTPStatus(status).phrase, "content": content}
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            described[status]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return described
