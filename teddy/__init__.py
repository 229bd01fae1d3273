"""Find names in text.

    import teddy

    tagger = teddy.load()                       # the model that ships; or teddy.load("mine.teddy")
    for entity in tagger.tag(["He said, Teddy Roosevelt was a great President!"])[0]:
        print(entity.label, entity.text, entity.score)

    with teddy.Client("http://localhost:8000") as client:   # a Teddy that serves
        print(client.tag("He said, Teddy Roosevelt was a great President!").entities)

`teddy.model` is what a tagger is, `teddy.training` how one is made, and `teddy.service` how one is
served.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teddy import model, service, training
    from teddy.model.predictor import Predictor, load
    from teddy.model.text.documents import Entities, Entity
    from teddy.service.client import AsyncClient, Client

__all__ = [
    "AsyncClient",
    "Client",
    "Entities",
    "Entity",
    "Predictor",
    "load",
    "model",
    "service",
    "training",
]

_HOMES = {
    "AsyncClient": "teddy.service.client",
    "Client": "teddy.service.client",
    "Entities": "teddy.model.text.documents",
    "Entity": "teddy.model.text.documents",
    "Predictor": "teddy.model.predictor",
    "load": "teddy.model.predictor",
}
_ROOMS = ("model", "service", "training")


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: torch alone takes a second.

    Raises ImportError where what is asked for, or what it needs, is not installed; the message says
    how to install it.
    """
    if name not in __all__:
        raise AttributeError(f"module 'teddy' has no attribute {name!r}")
    try:
        return (
            import_module(f"teddy.{name}")
            if name in _ROOMS
            else getattr(import_module(_HOMES[name]), name)
        )
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing in ("httpx", "anyio"):
            raise ImportError(
                f"teddy.{name} needs httpx: pip install 'teddy[client]'", name=missing
            ) from None
        if missing.startswith("teddy."):
            raise ImportError(
                f"teddy.{name} is not part of teddy-client: pip install teddy", name=missing
            ) from None
        raise


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
