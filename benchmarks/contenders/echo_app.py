"""A bare FastAPI endpoint that echoes the body: the cost of HTTP alone in this framework.

uvicorn benchmarks.contenders.echo_app:app
"""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Body(BaseModel):
    """As much of a request as every contender reads."""

    text: str


@app.post("/v1/entities")
async def echo(body: Body) -> Body:
    """The body, read and written by pydantic."""
    return body
