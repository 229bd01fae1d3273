"""spaCy in a plain FastAPI endpoint, the way most people write it, twice.

SPACY_MODEL=FOLDER uvicorn --factory benchmarks.contenders.spacy_app:in_threads    # `def`
SPACY_MODEL=FOLDER uvicorn --factory benchmarks.contenders.spacy_app:in_the_loop   # `async def`
"""

import os
from typing import Any

import spacy
from fastapi import FastAPI
from pydantic import BaseModel


class Body(BaseModel):
    """A request."""

    text: str


class Entity(BaseModel):
    """As Teddy gives it."""

    start: int
    end: int
    label: str
    text: str


class Answer(BaseModel):
    """To one text."""

    entities: list[Entity]


def in_threads() -> FastAPI:
    """The endpoint is a `def`: FastAPI runs it in its pool of threads."""
    app, nlp = FastAPI(), loaded()

    @app.post("/v1/entities")
    def entities(body: Body) -> Answer:
        return answer(nlp(body.text))

    return app


def in_the_loop() -> FastAPI:
    """The endpoint is an `async def`: it runs in the event loop, which waits for it."""
    app, nlp = FastAPI(), loaded()

    @app.post("/v1/entities")
    async def entities(body: Body) -> Answer:
        return answer(nlp(body.text))

    return app


def loaded() -> Any:
    """The pipeline in the folder that the environment names."""
    return spacy.load(os.environ["SPACY_MODEL"])


def answer(document: Any) -> Answer:
    """The entities of a document."""
    return Answer(
        entities=[
            Entity(start=each.start_char, end=each.end_char, label=each.label_, text=each.text)
            for each in document.ents
        ]
    )
