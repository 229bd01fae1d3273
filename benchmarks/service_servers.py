"""The servers that are compared: how to start each, and stop it while another has its turn."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.load.question import as_json
from benchmarks.load.server import Server, free_port
from benchmarks.process import ContenderError, run_to_end
from benchmarks.service_context import Context

TEDDY, ECHO, SPACY_DEF, SPACY_ASYNC, LITSERVE = (
    "teddy",
    "echo",
    "spacy def",
    "spacy async def",
    "litserve",
)
CONTENDERS = (TEDDY, ECHO, SPACY_DEF, SPACY_ASYNC, LITSERVE)
APPS = {
    ECHO: ("benchmarks.contenders.echo_app:app",),
    SPACY_DEF: ("--factory", "benchmarks.contenders.spacy_app:in_threads"),
    SPACY_ASYNC: ("--factory", "benchmarks.contenders.spacy_app:in_the_loop"),
}
NEEDS = {SPACY_DEF: ("spacy",), SPACY_ASYNC: ("spacy",), LITSERVE: ("spacy", "litserve")}
SPACY_LABELS = ("PER", "ORG", "LOC")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}

BODY = as_json({"text": "He said, Teddy Roosevelt was a great President!"})
REQUEST = (
    b"POST /v1/entities HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
"""A server is ready when it has answered this."""


@dataclass(slots=True)
class Contender:
    """A server that has a name in the tables."""

    name: str
    workers: int
    server: Server
    sleeps: bool

    def wake(self) -> None:
        """Before its turn."""
        if self.sleeps:
            os.killpg(self.server.pid, signal.SIGCONT)

    def sleep(self) -> None:
        """After its turn. Only who looks for work all the time, while there is none, is stopped."""
        if self.sleeps:
            os.killpg(self.server.pid, signal.SIGSTOP)


@contextmanager
def started(context: Context, names: Sequence[str], workers: int) -> Iterator[list[Contender]]:
    """All that can be started; they are ended on leaving. Who cannot is noted in a line."""
    contenders: list[Contender] = []
    try:
        for name in names:
            try:
                server = start(context, name, workers)
            except ContenderError as error:
                context.note(f"{name}: left out: {error}")
            else:
                contenders.append(Contender(name, workers, server, sleeps=name == LITSERVE))
        yield contenders
    finally:
        for contender in contenders:
            contender.server.kill()


async def ready(contender: Contender) -> None:
    """Return when it answers, from all its workers as far as that can be known.

    Raises ServerError.
    """
    if contender.name == TEDDY:
        await contender.server.all_ready(contender.workers)
    await contender.server.ready(request=REQUEST)
    contender.sleep()


def start(context: Context, name: str, workers: int) -> Server:
    """The process, not ready yet. Raises ContenderError."""
    log, port = context.folder / f"{name.replace(' ', '-')}-{workers}.log", free_port()
    if missing := [package for package in NEEDS.get(name, ()) if find_spec(package) is None]:
        raise ContenderError(f"{' and '.join(missing)} not installed; pip install -e '.[bench]'")
    if name == TEDDY:
        return teddy(context, workers, log)
    if name == LITSERVE:
        program = [
            "-m",
            "benchmarks.contenders.litserve_app",
            str(spacy_model(context)),
            str(port),
            str(workers),
        ]
        return Server([sys.executable, *program], log, port=port, variables=ONE_THREAD)
    # As Teddy's: uvloop and httptools. Without an access log, which Teddy writes.
    options = (
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--log-level",
        "warning",
    )
    program = [
        "-m",
        "uvicorn",
        *APPS[name],
        *options,
        "--workers",
        str(workers),
        "--port",
        str(port),
    ]
    variables = (
        ONE_THREAD if name == ECHO else {**ONE_THREAD, "SPACY_MODEL": str(spacy_model(context))}
    )
    return Server([sys.executable, *program], log, port=port, variables=variables)


def teddy(context: Context, workers: int, log: Path, **settings: object) -> Server:
    """`teddy serve` with the measured model, at its defaults but for the precision of all."""
    known = {"precision": context.predictor.precision, **settings}
    chosen = ("--workers", str(workers), "--model", f"bench={context.model_file.resolve()}")
    return Server.teddy(log, *chosen, settings=known)


def spacy_model(context: Context) -> Path:
    """The folder with spaCy's pipeline, made once. Raises ContenderError."""
    folder = context.folder / "spacy"
    if not folder.exists():
        command = (
            sys.executable,
            "-m",
            "benchmarks.contenders.spacy_ner",
            str(folder),
            *SPACY_LABELS,
        )
        run_to_end(command, context.folder / "spacy.stderr", context.clock)
    return folder
