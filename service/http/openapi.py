"""Document the endpoints: what FastAPI cannot see by itself, and `/docs` without the internet."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from teddy.service.api.explain_schemas import ExplainRequest
from teddy.service.feedback.corrections import AnswerCorrection, TextCorrection
from teddy.service.http.middleware import OPEN
from teddy.service.http.paths import prefix_of
from teddy.service.http.problems import REFUSALS
from teddy.service.http.security import page_policy
from teddy.service.redaction.requests import (
    RedactBatchRequest,
    RedactedLine,
    RedactRequest,
    RestoreRequest,
)
from teddy.service.schemas import (
    BatchRequest,
    EntitiesRequest,
    Problem,
    StreamError,
    StreamLine,
    StreamResult,
)

REFERENCE = "#/components/schemas/{model}"

Description = dict[str, Any]

KEY_SCHEMES: Description = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}

PAGE = "/docs"
ASSETS = "/docs/assets"
DOCUMENT = "/openapi.json"


class DocumentedApp(FastAPI):
    """FastAPI, with the schemas in its documentation that `body_of` and `problems` refer to."""

    def openapi(self) -> Description:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["components"]["schemas"] |= component_schemas()
            document["components"]["securitySchemes"] = KEY_SCHEMES
            ask_for_keys(document)
            add_refusals(document)
            drop_builtin_errors(document)
        return super().openapi()


def ask_for_keys(document: Description) -> None:
    """State that each operation may need a key, except the open ones."""
    for path, operations in document["paths"].items():
        if path not in OPEN:
            for operation in operations.values():
                operation["security"] = [{}, *({name: []} for name in KEY_SCHEMES)]


def add_refusals(document: Description) -> None:
    """Add what any request may get before it reaches its operation."""
    described = problems(*sorted({refusal.status for refusal in REFUSALS}))
    for path in document["paths"].values():
        for operation in path.values():
            for status, description in described.items():
                operation["responses"].setdefault(str(status), description)


def drop_builtin_errors(document: Description) -> None:
    """Remove the error that FastAPI documents for every parameter: here errors are problems."""
    builtin = {"$ref": REFERENCE.format(model="HTTPValidationError")}
    for operation in (
        operation for path in document["paths"].values() for operation in path.values()
    ):
        described = (
            operation["responses"].get("422", {}).get("content", {}).get("application/json", {})
        )
        if described.get("schema") == builtin:
            del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def component_schemas() -> Description:
    """Return the schemas of request bodies and problems, by name."""
    models: tuple[type[BaseModel], ...] = (
        EntitiesRequest,
        BatchRequest,
        ExplainRequest,
        TextCorrection,
        AnswerCorrection,
        StreamLine,
        StreamResult,
        StreamError,
        RedactRequest,
        RedactBatchRequest,
        RedactedLine,
        RestoreRequest,
        Problem,
    )
    _, described = models_json_schema(
        [(model, "validation") for model in models], ref_template=REFERENCE
    )
    schemas: Description = described["$defs"]
    return schemas


def body_of(*models: type[BaseModel]) -> Description:
    """Describe an operation's JSON body, which is one of `models`."""
    references = [{"$ref": REFERENCE.format(model=model.__name__)} for model in models]
    content = {
        "application/json": {
            "schema": {"anyOf": references} if len(references) > 1 else references[0]
        }
    }
    return {"requestBody": {"required": True, "content": content}}


def body_of_lines(model: type[BaseModel], media_types: Iterable[str]) -> Description:
    """Describe an operation's body: lines of JSON, one `model` each."""
    return {
        "requestBody": {
            "required": True,
            "content": dict.fromkeys(media_types, lines_schema(model)),
        }
    }


def lines_of(
    *models: type[BaseModel], media_type: str, headers: Mapping[str, str]
) -> dict[int | str, Description]:
    """Describe an operation's answer: lines of JSON, each one of `models`."""
    described = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
    }
    content = {media_type: lines_schema(*models)}
    return {200: {"description": "Lines, in order.", "headers": described, "content": content}}


def lines_schema(*models: type[BaseModel]) -> Description:
    """Describe lines: a string in OpenAPI 3.1; `itemSchema` is what 3.2 states for each line."""
    items = [{"$ref": REFERENCE.format(model=model.__name__)} for model in models]
    return {
        "schema": {"type": "string"},
        "itemSchema": {"anyOf": items} if len(items) > 1 else items[0],
    }


def problems(*statuses: int) -> dict[int | str, Description]:
    """Describe the problems that an operation may answer with."""
    schema = {"$ref": REFERENCE.format(model=Problem.__name__)}
    content = {"application/problem+json": {"schema": schema}}
    described: dict[int | str, Description] = {}
    for status in statuses:
        described[status] = {"description": HTTPStatus(status).phrase, "content": content}
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            described[status]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
    return described


def add_docs_page(app: FastAPI) -> None:
    """Serve the document, Swagger UI and its files, also behind a proxy's prefix."""
    # Only the files of the package are used: its app is not our `DocumentedApp`.
    app.mount(
        ASSETS,
        StaticFiles(directory=Path(str(files("fastapi_offline"))) / "static"),
        name="docs-assets",
    )

    @app.get(DOCUMENT, include_in_schema=False)
    async def document(request: Request) -> JSONResponse:
        prefix = prefix_of(request.scope)
        return JSONResponse(app.openapi() | ({"servers": [{"url": prefix}]} if prefix else {}))

    @app.get(PAGE, include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        prefix = prefix_of(request.scope)
        page = get_swagger_ui_html(
            openapi_url=f"{prefix}{DOCUMENT}",
            title=f"{app.title} {app.version}",
            swagger_js_url=f"{prefix}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{prefix}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{prefix}{ASSETS}/favicon.png",
        )
        page.headers["Content-Security-Policy"] = page_policy(bytes(page.body))
        return page
