"""Schemathesis over the whole OpenAPI document: requests that it allows and requests that it does
not, made up again.

What comes back must be documented: status, media type, headers, content. What is not allowed must
be refused, what is allowed must not be, and nothing may be an error of the server. Seeded, bounded,
and without a network."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import SecretStr
from schemathesis import BaseSchema, Case, GenerationMode, SerializationContext, checks, openapi
from schemathesis.python import asgi
from schemathesis.specs.openapi import checks as openapi_checks

from teddy.service.app import create_app
from teddy.service.settings import Settings

KEY = "schemathesis-key"
LABELS = ("UPPER", "LONG")
OPERATIONS = (
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"),
    ("GET", "/v1/models/{name}/rules"),
    ("POST", "/v1/entities"),
    ("POST", "/v1/entities/batch"),
    ("POST", "/v1/entities/stream"),
    ("POST", "/v1/explain"),
    ("POST", "/v1/feedback"),
    ("POST", "/v1/models/{name}/reload"),
    ("POST", "/v1/redact"),
    ("POST", "/v1/redact/batch"),
    ("POST", "/v1/redact/stream"),
    ("POST", "/v1/restore"),
)
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
    openapi_checks.positive_data_acceptance,
]
N_EXAMPLES = 40
MODES = [
    (method, path, mode)
    for method, path in OPERATIONS
    for mode in GenerationMode
    # Without a body to be wrong, a request can only be right; and any string whatever may be lines.
    if mode is GenerationMode.POSITIVE
    or path in ("/v1/entities", "/v1/entities/batch", "/v1/feedback")
]


@schemathesis.serializer("application/x-ndjson", "application/jsonl")
def as_lines(_: SerializationContext, value: Any) -> bytes:
    return str(value).encode()


@pytest.fixture
def schema(predictor: Any, tmp_path: Path) -> Iterator[BaseSchema]:
    """The OpenAPI document of a service that is ready, as it serves it."""
    options = Settings(
        api_keys=(SecretStr(f"admin:{KEY}"),),
        feedback_dir=tmp_path,
        redact_key=SecretStr("k" * 32),
    )
    app = create_app(options, lambda _, **__: predictor)
    schema = openapi.from_asgi("/openapi.json", app)
    while schema["/health/ready"]["GET"].Case().call().status_code != 200:
        time.sleep(0.01)  # models are loaded beside the first requests
    yield schema
    asgi.shutdown_lifespans()


def test_these_are_all_the_operations(schema: BaseSchema) -> None:
    described = schema.raw_schema["paths"].items()
    assert {(method.upper(), path) for path, methods in described for method in methods} == set(
        OPERATIONS
    )


@pytest.mark.parametrize(("method", "path", "mode"), MODES)
def test_every_answer_is_one_that_is_documented(
    schema: BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    operation = schema[path][method]

    @settings(
        max_examples=N_EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            for options in (case.query, case.body):
                name_known_labels(options)
                mark_what_is_there(options)
        case.call_and_validate(headers={"Authorization": f"Bearer {KEY}"}, checks=CHECKS)

    ask()


def name_known_labels(options: Any) -> None:
    """Labels that the model has, and what else the document cannot know."""
    if isinstance(options, dict) and options.get("labels"):
        options["labels"] = [LABELS[len(label) % 2] for label in options["labels"]]
    if isinstance(options, dict) and isinstance(options.get("threshold"), dict):
        options["threshold"] = dict(zip(LABELS, options["threshold"].values(), strict=False))
    if isinstance(options, dict) and "format" in options:
        options["format"] = "text"  # a string may be no JSON
    if isinstance(options, dict) and isinstance(options.get("threshold"), str):
        options["threshold"] = "0.5"  # of a query, which the document calls a string
    if isinstance(options, dict) and isinstance(options.get("operators"), str):
        options["operators"] = "*:keep"


def mark_what_is_there(correction: Any) -> None:
    """Entities that are in the text, instead of others: the document cannot know it either."""
    if isinstance(correction, dict) and "entities" in correction:
        n_characters = (
            len(correction.get("text", "")) if correction.get("offset_unit") is None else 0
        )
        n_entities = min(len(correction["entities"]), n_characters)
        correction["entities"] = [
            {"start": i, "end": i + 1, "label": LABELS[i % 2]} for i in range(n_entities)
        ]
    if isinstance(correction, dict) and correction.get("spans"):
        correction["spans"] = [{"start": 0, "end": 0, "label": LABELS[0]}]
