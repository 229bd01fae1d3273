"""Pages in HTML from the templates beside this file: each is one file, with nothing to fetch and no script."""

from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from teddy.model.errors import TrainingError
from teddy.training.bootstrap import Interval
from teddy.training.markdown import percent
from teddy.training.report.data import PartCounts

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: object) -> str:
    """Fill a template; every value is escaped.

    Raises: TrainingError where jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise TrainingError("HTML reports need jinja2: pip install 'teddy[train]'") from error
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    return environment.get_template(template).render(version=version("teddy"), **values)


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _signed(difference: float) -> str:
    """Write a difference of two ratios in percentage points."""
    return _minus(f"{100 * difference:+.2f}")


def _interval(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _signed_interval(interval: Interval) -> str:
    return _minus(f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f}")


def _minus(number: str) -> str:
    """Put a minus sign, as wide as a plus, where there is a hyphen."""
    return number.replace("-", "\u2212")


def _place(value: float, lowest: float, highest: float = 1.0) -> str:
    """How far along an axis a value lies, as CSS has it."""
    share = (value - lowest) / (highest - lowest)
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _labels_of(parts: Iterable[PartCounts]) -> list[str]:
    return list(dict.fromkeys(label for part in parts for label in part.n_entities))


_FILTERS: dict[str, Callable[..., object]] = {
    "percent": percent,
    "number": _number,
    "signed": _signed,
    "interval": _interval,
    "signed_interval": _signed_interval,
    "place": _place,
    "labels_of": _labels_of,
}
