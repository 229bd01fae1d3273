"""The commands `teddy serve` and `teddy key`. They import nothing heavy until they run."""

import os
import secrets
import signal
import sys
from contextlib import suppress
from hashlib import sha256
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from teddy.service.errors import SettingsError
from teddy.service.http.callers import LINE, Role

if TYPE_CHECKING:
    from teddy.service.settings import Settings


EXAMPLE = """\
Teddy serves {names} at {address} (to try in a browser: {address}{path}). For example:
  curl {address}/v1/entities -H 'Content-Type: application/json' \\{key}
    -d '{{"text": "He said, Teddy Roosevelt was a great President!"}}'"""

SHOW_KEY = """
    -H "X-API-Key: $KEY" \\"""
"""How the example shows one of the API keys, where there are any."""

STANDARD_ERROR = 2
RANDOM_BYTES = 32
PREFIX = "teddy_"  # scanners for leaked secrets can find a key by it


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one. [default: 8000]")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve. [default: 1]")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="A model to serve, by its name, or a name of one that ships: en, de. The first is "
            "the default. Repeatable.",
        ),
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Rules beside all models, or NAME=FILE,... for some: see docs/rules.md.",
        ),
    ] = None,
) -> None:
    """Serve models over HTTP; without --model the English one that ships.

    Each option, and more, has a TEDDY_* variable; docs/settings.md lists them.

    Examples:
      teddy serve
      teddy serve --port 9000 --model en --model de --model mine=runs/mine/mine.teddy
    """
    # A signal has asked it to stop; by the time of this exception every accepted request has been
    # answered.
    with suppress(KeyboardInterrupt):
        run(host, port, workers, model, rules)


def run(
    host: str | None,
    port: int | None,
    workers: int | None,
    model: list[str] | None,
    rules: str | None = None,
) -> None:
    """Read the settings, prepare the process and serve until a signal. Raises TeddyError."""
    from teddy.service.settings import read_settings, unknown_variables

    open_standard_streams()
    models = ",".join(model) if model else None
    settings = read_settings(host=host, port=port, workers=workers, models=models, rules=rules)
    bound_threads(settings)

    import structlog

    from teddy.service.http.acceptor import listen
    from teddy.service.http.callers import Keys, check_exposure
    from teddy.service.observability.log import configure_logs, flush_logs

    keys = Keys.read(settings)
    check_exposure(settings, keys)
    # stopping is not a failure, whichever signal asked for it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing to reload yet
    configure_logs(settings.log_level)
    if unknown := unknown_variables(os.environ):
        structlog.get_logger("service").warning("unknown settings are ignored", variables=unknown)
    bound = listen(settings.host, settings.port)
    address = url(settings.host, bound.getsockname()[1])
    example = example_of(settings, address, with_key=keys.required)
    try:
        # one or the other: a supervisor needs nothing of what its workers answer with
        if settings.workers > 1:
            from teddy.service.process.supervisor import serve_with_workers as serve_on
        else:
            from teddy.service.process.server import serve as serve_on
        serve_on(settings, bound, on_ready=lambda: say(example))
    finally:
        flush_logs()  # the one line of an error comes last
    for number in (signal.SIGTERM, signal.SIGINT):
        # it is ending; one more signal must not turn that into a failure
        signal.signal(number, signal.SIG_IGN)


def example_of(settings: "Settings", address: str, *, with_key: bool) -> str:
    """Return what is served where, and a first request to try."""
    key = SHOW_KEY if with_key else ""
    path = "/" if settings.page else "/docs"
    return EXAMPLE.format(names=names_of(settings), address=address, path=path, key=key)


def say(text: str) -> None:
    """Print, if possible: a full disk, or a pipe that is closed or not read, stops nothing.

    So it is written in a thread, and without Python's buffer, which would fail once more at exit.
    """
    if sys.stdout is None:
        return

    def write() -> None:
        with suppress(OSError):
            os.write(sys.stdout.fileno(), text.encode() + b"\n")

    Thread(target=write, name="say", daemon=True).start()


def open_standard_streams() -> None:
    """Open those that are closed: a socket that got the number of one would get what is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def names_of(settings: "Settings") -> str:
    """Return the names of the served models, to show at the start."""
    from teddy.service.inference.model_files import SHIPPED

    named = [
        *settings.models,
        *([f"the models in {settings.models_dir}"] if settings.models_dir else []),
    ]
    return ", ".join(named) or SHIPPED


def bound_threads(settings: "Settings") -> None:
    """Set what OpenMP reads when torch is imported, here and in workers, unless it is set already.

    Idle threads sleep instead of spinning: a service shares its machine, and spinning then costs
    most of the speed.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.torch_threads()))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def url(host: str, port: int) -> str:
    """Return the URL under which a person on this machine reaches `host`."""
    shown = f"[{host}]" if ":" in host else host
    if host in ("0.0.0.0", "::", ""):  # noqa: S104
        shown = "localhost"
    return f"http://{shown}:{port}"


def key(
    role: Annotated[
        Role, typer.Option(help="What it is for; an admin may also reload models.")
    ] = "tag",
    name: Annotated[
        str | None, typer.Option(help="Who has it, for the log. [default: the line in the file]")
    ] = None,
) -> None:
    """Make an API key. It is shown once; its line for TEDDY_API_KEYS_FILE holds only its digest.

    The key goes to standard error and the line to standard output, so that you can redirect the
    line to the file.

    Examples:
      teddy key
      teddy key --role admin --name operations >> teddy.keys
    """
    made = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    line = " ".join(filter(None, (role, sha256(made.encode("ascii")).hexdigest(), name)))
    if not LINE.fullmatch(line):
        raise SettingsError(
            "--name: up to 64 letters, digits, '.', '_' and '-', the first a letter or a digit"
        )
    print(f"The key, which is shown only now: {made}", file=sys.stderr)
    print(line)
