"""Gold spans that words cannot express, counted, and the first of them in full."""

from dataclasses import asdict
from typing import Any

from teddy.training.corpus.align import Misaligned

_MOST_LISTED = 100_000


class MisalignedReport:
    """What `on_misaligned` heard in the course of reading."""

    def __init__(self, n_spans: int = 0, listed: list[Misaligned] | None = None) -> None:
        self.n_spans = n_spans
        self.listed = listed or []
        """The first, a hundred thousand at most."""

    def add(self, span: Misaligned) -> None:
        """Takes note of a span."""
        self.n_spans += 1
        if len(self.listed) < _MOST_LISTED:
            self.listed.append(span)

    def __str__(self) -> str:
        """A line for each, and one for those that are not listed."""
        lines = [*map(str, self.listed)]
        if len(self.listed) < self.n_spans:
            lines.append(f"... and {self.n_spans - len(self.listed):,} more")
        return "".join(f"{line}\n" for line in lines)

    def as_json(self) -> dict[str, Any]:
        """For `from_json`."""
        return {"n_spans": self.n_spans, "listed": [asdict(each) for each in self.listed]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "MisalignedReport":
        """The report of which `as_json` gave this."""
        return cls(value["n_spans"], [Misaligned(**each) for each in value["listed"]])
