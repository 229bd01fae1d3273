"""Many requests through nginx and HAProxy, with the files of deploy/proxy: `make proxies`.

    python -m benchmarks.proxies [--requests 100000] [--connections 64] [--model FILE]

Each connection asks again once it is answered. Every answer is checked. Exit status 1 if one is not
a result.
"""

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

from benchmarks.load.generator import Load
from benchmarks.load.question import Question, entities_of, single_questions
from benchmarks.load.server import Server, free_port
from benchmarks.load.tally import Tally
from teddy.model.predictor import load

PROGRAMS = ("nginx", "haproxy")
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin"
FOLDER = Path(__file__).parents[1] / "deploy" / "proxy"
NGINX = (FOLDER / "nginx.conf").read_text(encoding="utf-8")
HAPROXY = (FOLDER / "haproxy.cfg").read_text(encoding="utf-8")
AROUND_NGINX = """
daemon off; master_process off; pid {directory}/pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    include {directory}/teddy.conf;
}}
"""
OPEN_SECONDS = 30.0
TEXTS = [f"Anna Berg number {i} went to Oslo , and Ole stayed at home ." for i in range(200)]


def find(program: str) -> str | None:
    """Return the path of a proxy's program, if this machine has it."""
    return shutil.which(program, path=SEARCHED)


def command_of(program: str, upstream: int, port: int, directory: Path) -> list[str]:
    """Return the command line of a proxy on `port`, with our file for another Teddy."""
    server, address = f"127.0.0.1:{upstream}", f"127.0.0.1:{port}"
    if Path(program).name == "haproxy":
        content = _replaced(HAPROXY, "127.0.0.1:8000", server)
        file = directory / "haproxy.cfg"
        file.write_text(_replaced(content, "bind :80\n", f"bind {address}\n"))
        return [program, "-db", "-f", str(file)]
    content = _replaced(NGINX, "127.0.0.1:8000", server)
    (directory / "teddy.conf").write_text(_replaced(content, "listen 80;", f"listen {address};"))
    file = directory / "nginx.conf"
    file.write_text(AROUND_NGINX.format(directory=directory))
    return [program, "-p", str(directory), "-c", str(file), "-e", "stderr"]


@contextmanager
def proxy(program: str, upstream: int, directory: Path) -> Iterator[int]:
    """Run a proxy in front of a port, on another; its number is given once it listens there."""
    port = free_port()
    command = command_of(program, upstream, port, directory)
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            ends = time.monotonic() + OPEN_SECONDS
            while not _is_open(port):
                if process.poll() is not None or time.monotonic() > ends:
                    raise RuntimeError((directory / "log").read_text())
            yield port
        finally:
            process.kill()


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise ValueError(f"{old!r} is in the file {text.count(old)} times, not once")
    return text.replace(old, new)


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


async def through(
    program: str, upstream: int, questions: Sequence[Question], n: int, connections: int
) -> Tally:
    """Ask `n` questions through a proxy in front of a port."""
    with (
        tempfile.TemporaryDirectory(prefix="teddy-proxy-") as folder,
        proxy(program, upstream, Path(folder)) as port,
    ):
        load = Load(port, islice(cycle(questions), n), name=Path(program).name)
        return await load.closed(connections, float("inf"))


def describe(program: str, tally: Tally) -> str:
    """Return a line about what became of the requests."""
    statuses = ", ".join(f"{n:,} of {status}" for status, n in sorted(tally.statuses.items()))
    return (
        f"{Path(program).name}: {tally.sent:,} requests in {tally.seconds:.0f} s: {statuses}; "
        f"{tally.n_faults} wrong, {len(tally.broken)} without an answer, "
        f"{tally.unreachable} connections refused"
    )


async def run(arguments: argparse.Namespace) -> bool:
    """Ask through each proxy in turn; return whether every answer was right."""
    predictor = load(arguments.model, precision="fp32")
    found = {predictor.version: entities_of(predictor, TEXTS)}
    questions = single_questions(TEXTS, found)
    flags = ["--model", f"en={arguments.model}"] if arguments.model else []
    settings = {"precision": "fp32", "trusted_proxies": "127.0.0.1"}
    is_right = True
    with (
        tempfile.TemporaryDirectory(prefix="teddy-proxies-") as folder,
        Server.teddy(Path(folder) / "log", *flags, settings=settings) as server,
    ):
        await server.ready()
        for program in filter(None, map(find, PROGRAMS)):
            tally = await through(
                program, server.port, questions, arguments.requests, arguments.connections
            )
            print(describe(program, tally), flush=True)
            is_right &= tally.ok == arguments.requests and not tally.n_faults
    return is_right


def main() -> None:
    """Read the command line, ask, and exit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000, help="through each [100000]")
    parser.add_argument("--connections", type=int, default=64, help="at a time [64]")
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="a model file; the one that ships by default"
    )
    sys.exit(not asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
