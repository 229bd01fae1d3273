"""The options of `teddy train` and `teddy pretrain` that show a running job to Prometheus."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from teddy.training.job.catalogue import Address

if TYPE_CHECKING:
    from teddy.training.job.job import Job


def _metrics_file(text: str) -> Path:
    if not text.endswith(".prom"):
        reason = "the node exporter reads only files whose names end in .prom"
        raise typer.BadParameter(f"{text}: {reason}")
    return Path(text)


def _address(text: str) -> Address:
    """Read PORT, HOST:PORT or [HOST]:PORT."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise typer.BadParameter(f"{text!r} is neither PORT nor HOST:PORT")
    return Address(host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port))


def _gateway(text: str) -> str:
    try:
        url = urlsplit(text)
        is_address = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        is_good = is_address and not (url.query or url.fragment or "@" in url.netloc)
    except ValueError:  # brackets that do not match, a port that is no number
        is_good = False
    if not is_good or not text.isprintable() or " " in text:
        # Not repeated: it may have a password in it.
        raise typer.BadParameter("not http://HOST:PORT or https://HOST:PORT")
    return text


MetricsFileOption = Annotated[
    Path | None,
    typer.Option(
        parser=_metrics_file,
        metavar="FILE.prom",
        help="Keep the job's metrics in a file, for the node exporter's textfile collector.",
    ),
]
MetricsPortOption = Annotated[
    Address | None,
    typer.Option(
        parser=_address,
        metavar="[HOST:]PORT",
        help="Serve the job's metrics while it runs; on 127.0.0.1 if no host is given.",
    ),
]
PushgatewayOption = Annotated[
    str | None,
    typer.Option(
        parser=_gateway,
        metavar="URL",
        help="Push the job's metrics there while it runs, and delete them at its end.",
    ),
]


def shown(
    job: "Job", file: Path | None, address: Address | None, gateway: str | None
) -> AbstractContextManager[None]:
    """Export a job's metrics during a `with` block, as these options say; see job/metrics.py."""
    if file is None and address is None and gateway is None:
        return nullcontext()
    from teddy.training.job.metrics import exposed

    return exposed(job, file, address, gateway)
