"""The command `teddy`: its sub-commands, and errors as one line and an exit code.

    0    done
    1    `tag` finished, with records that could not be tagged; `check` found errors; the model of
         `promote` is not better; or a mistake in Teddy itself, with a traceback
    2    refused: wrong usage, input, recipe, model file or training run, or a full disk
    3    a training run diverged: its loss is not a number, or explodes
    75   interrupted by SIGTERM or Ctrl-C, to be resumed without loss
    130  interrupted by Ctrl-C where nothing can be resumed, or by a second signal

The modules named `commands` import nothing heavy until a command runs, so that the help comes at
once.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from inspect import getdoc
from io import TextIOWrapper
from typing import Annotated, TextIO

import typer

from teddy.model.commands import inspect
from teddy.model.errors import DivergedError, FileError, JobInterrupted, TeddyError
from teddy.model.reasons.explain_command import explain
from teddy.model.system.processes import SIGNALS
from teddy.service.commands import key, serve
from teddy.service.redaction.redact_command import redact, restore
from teddy.tag_command import tag
from teddy.training.check.check_command import check
from teddy.training.commands import export, pretrain, sample, search, train
from teddy.training.data.convert_command import convert
from teddy.training.distillation.distill_command import distill
from teddy.training.draft.init_command import init
from teddy.training.draft.try_command import try_
from teddy.training.evaluation.evaluation_commands import compare, evaluate
from teddy.training.lab.lab_command import lab
from teddy.training.promotion.promote_command import promote

_INTERRUPTED = 75
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)

COMMANDS: tuple[Callable[..., None], ...] = (
    tag,
    explain,
    inspect,
    init,
    train,
    distill,
    try_,
    search,
    evaluate,
    compare,
    export,
    check,
    convert,
    promote,
    redact,
    restore,
    pretrain,
    sample,
    lab,
    serve,
    key,
)


def main(*first: str) -> None:
    """Run the command line of this process, after the arguments given, and exit."""
    # Read by OpenMP when torch is imported. Threads that spin while they wait cost most of the
    # speed beside other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if sys.stdout is None:  # closed before the start: what is printed is lost, as the caller asked
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    elif isinstance(sys.stdout, TextIOWrapper):
        # A terminal of another encoding shows `\xeb`; pipes and files are UTF-8, as JSON is.
        known = sys.stdout.encoding if sys.stdout.isatty() else "utf-8"
        sys.stdout.reconfigure(encoding=known, errors="backslashreplace")
    code = run([*first, *sys.argv[1:]])
    if code == _INTERRUPTED:
        # It ends anyhow. A scheduler or launcher that asks once more must not turn its exit code
        # into a failure.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line (without the name of the program) and return the exit code.

    An exception that comes out of here is a mistake in Teddy: everything that a person can cause is
    told on standard error in one line.
    """
    command = typer.main.get_command(make_app())
    try:
        code = command.main(
            args=list(arguments) or ["--help"], prog_name="teddy", standalone_mode=False
        )
        if sys.stdout is not None:  # None where it was closed before the start
            sys.stdout.flush()
    except BrokenPipeError:
        return _close_quietly()
    except KeyboardInterrupt:
        return 130
    except JobInterrupted as interruption:
        _tell(str(interruption))
        return _INTERRUPTED
    except (TeddyError, typer.TyperException, OSError) as error:
        message = _message(error)
        if message is None:
            raise
        _tell(f"error: {message}")
        if isinstance(error, FileError) and error.sample and _is_terminal(sys.stderr):
            _show_sample(error.sample)
        return 3 if isinstance(error, DivergedError) else 2
    return code if isinstance(code, int) else 0


def _tell(message: str) -> None:
    """Print to standard error; the exit code tells the same where that is full or closed."""
    with suppress(OSError):
        print(f"teddy: {message}", file=sys.stderr)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _show_sample(sample: str) -> None:
    with suppress(OSError):
        print("It should look like this:", file=sys.stderr)
        print(
            "".join(f"  {line}\n" for line in sample.rstrip().split("\n")), end="", file=sys.stderr
        )


def make_app() -> typer.Typer:
    """Mount all commands. Their docstrings are their help."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback(help=_help(_options))(_options)
    for function in COMMANDS:
        app.command(help=_help(function))(function)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"teddy {version('teddy')}")
        raise typer.Exit()


def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Find names in text: tag it, serve that over HTTP, train taggers of your own.

    Examples:
      teddy tag "He said Teddy Roosevelt was a great President"
      teddy serve --port 8000
      teddy train training/recipes/en.toml --data corpora

    Each command explains itself: teddy tag --help
    """


def _help(function: Callable[..., None]) -> str:
    """Return the docstring, marked so that indented paragraphs keep their lines."""
    paragraphs = getdoc(function) or ""
    return "\n\n".join(
        f"\b\n{each}" if "\n  " in f"\n{each}" else each for each in paragraphs.split("\n\n")
    )


def _message(error: Exception) -> str | None:
    """Return the message of an error that a person caused; None for a mistake in Teddy."""
    if isinstance(error, typer.TyperException):
        # typer puts the name of the exception of a type before its reason, which helps no person
        return " ".join(error.format_message().replace(": Value error, ", ": ").split())
    if not isinstance(error, OSError):
        return str(error)
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return error.strerror if error.errno in _DISK_IS_FULL else None


def _close_quietly() -> int:
    """Give up standard output once its reader is gone, so that the last flush succeeds too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
