"""The roads that CONTRIBUTING.md draws are the ones that the code takes.

Each road is run under a recorder, and the functions that are entered are compared with the block of
its section. A step is a public function or method of the product: no property, no method of a
private class, no function within a function.
"""

import asyncio
import inspect
import re
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import CodeType, FrameType

import uvloop
from fastapi import FastAPI

import teddy
from teddy.service.app import create_app
from teddy.service.http.acceptor import listen
from teddy.service.process.server import Server
from teddy.service.settings import Settings
from teddy.training.commands import train

ROOT = Path(__file__).parents[1]
PRODUCT = ("model", "training", "service", "teddy")
MOST_STEPS_OF_A_TEXT = 25
MOST_STEPS_OF_A_REQUEST = 30
MOST_STEPS_OF_A_MODEL = 40


def drawn(road: str) -> list[str]:
    """Return the steps drawn under the heading `road` of CONTRIBUTING.md, as `file function`."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text.partition(f"\n### {road}\n")[2], maxsplit=1, flags=re.M)[0]
    steps, path = [], ""
    for line in re.findall(r"^    (.+)$", section, flags=re.M):
        file, names = re.fullmatch(r"(\S+\.py)?\s*(.*)", line).groups()  # type: ignore[union-attr]
        path = file or path
        steps += [f"{path} {name}" for name in re.split(r",\s*", names.rstrip(",")) if name]
    assert steps, f"CONTRIBUTING.md draws no road {road!r}"
    return steps


def entered(run: Callable[[], object]) -> list[str]:
    """Return the public functions of the product that a call enters, in the order of first entry.

    Calls are recorded in this thread and in threads that start meanwhile.
    """
    codes: dict[CodeType, str] = {}

    def record(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code not in codes:
            codes[frame.f_code] = frame.f_globals.get("__name__", "")  # a template has none

    threading.setprofile(record)
    sys.setprofile(record)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return [
        *dict.fromkeys(step for code, module in [*codes.items()] for step in steps(code, module))
    ]


def steps(code: CodeType, module: str) -> Iterator[str]:
    """Yield the step that a piece of code is, if it is one."""
    path = Path(code.co_filename).resolve()
    names = code.co_qualname.split(".")
    is_file = path.is_relative_to(ROOT) and path.suffix == ".py"
    is_product = is_file and path.relative_to(ROOT).parts[0] in PRODUCT
    if not is_product or any(name.startswith(("_", "<")) for name in names):
        return
    owner = inspect.getattr_static(sys.modules[module], names[0], None)
    for name in names[1:]:
        owner = inspect.getattr_static(owner, name, None)
    if not isinstance(owner, property | cached_property):
        yield f"{path.relative_to(ROOT)} {code.co_qualname}"


def test_text_to_entities() -> None:
    tagger = teddy.load()
    tagger.tag(["Ada Lovelace lived in London."])
    found = entered(lambda: tagger.tag(["Quobble met Bob in Zürich, and went on. She left."]))
    assert found == drawn("Text to entities")
    assert len(found) <= MOST_STEPS_OF_A_TEXT


FILES_OF_A_MODEL = (
    "training/commands.py",
    "training/recipe/recipe.py",
    "training/run.py",
    "training/run_setup.py",
    "training/recipe/fitting.py",
    "training/data/corpora.py",
    "training/data/rules.py",
    "training/data/align.py",
    "training/data/vocabulary.py",
    "training/loop.py",
    "training/learning/batches.py",
    "training/learning/checkpoint.py",
    "model/network/tagger_network.py",
    "training/export/publish.py",
    "model/file/bundle.py",
)
"""The files between a recipe and a model; others serve one step, or show and record the run."""


def test_recipe_to_model(tiny_data: Path, tmp_path: Path) -> None:
    """Train the tiny recipe twice: the first run imports what the second one needs."""

    def run(output: Path) -> None:
        recipe, changes = tiny_data / "tiny.toml", ["training.epochs=1"]
        train([recipe], data=tiny_data, output=output, overrides=changes)

    run(tmp_path / "first")
    found = entered(lambda: run(tmp_path / "second"))
    assert (tmp_path / "second" / "tiny.teddy").exists()
    found = [step for step in found if step.startswith(FILES_OF_A_MODEL)]
    assert found == drawn("Recipe to model")
    assert len(found) <= MOST_STEPS_OF_A_MODEL


EVERY_TICK = {
    "service/http/acceptor.py Acceptor.publish",
    "service/process/server.py QuietCollector.tick",
    "service/process/server.py Server.on_tick",
}
"""What the server does ten times a second, whether a request is there or not."""


def test_request_to_answer() -> None:
    """Run a server and ask it twice; the road of the text itself is left out."""
    body = b'{"text": "Quobble met Bob in Norwich."}'
    head = b"POST /v1/entities HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    app = create_app(Settings(), lambda _: teddy.load())
    server, bound = Server(app, Settings()), listen("127.0.0.1", 0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        serving = runner.get_loop().create_task(server._serve([bound]))
        try:
            runner.run(is_quiet(app, server))
            reader, writer = runner.run(asyncio.open_connection(*bound.getsockname()))
            for _ in range(2):  # the first one finds some metrics that are not made yet
                writer.write(request)
                found = entered(lambda: runner.run(reader.readuntil(b"}]}")))
            writer.close()
        finally:
            server.should_exit = True
            runner.run(ended(serving))
    found = [step for step in found if step.startswith("service/") and step not in EVERY_TICK]
    assert found == drawn("Request to answer")
    assert len(found) <= MOST_STEPS_OF_A_REQUEST


async def is_quiet(app: FastAPI, server: Server) -> None:
    """Return when the models are loaded and what counts and watches has been stopped."""
    while not server.started:
        await asyncio.sleep(0.01)
    await app.state.loading
    for task in asyncio.all_tasks():
        if re.search("event_loop_monitor|Models.watch", repr(task.get_coro())):
            task.cancel()


async def ended(task: "asyncio.Task[None]") -> None:
    await task
