"""The report of `teddy check`: tables and colours on a terminal, plain text elsewhere."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from teddy.model.tags.spans import Span
from teddy.training.check.finding_kinds import FindingKind, Severity
from teddy.training.check.report import CheckReport, Finding, PartCounts
from teddy.training.report.markdown import one_line

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFORMATION: "cyan"}
_AROUND = 60
"""Characters shown on each side of a span."""
_SHOWN_IN_TEXT = (
    FindingKind.LABEL_NOISE,
    FindingKind.BORDER_NOISE,
    FindingKind.SPURIOUS_NOISE,
    FindingKind.MISSING_NOISE,
    FindingKind.CROSSING,
    FindingKind.UNMARKED,
    FindingKind.MIXED_SCRIPT,
    FindingKind.MOJIBAKE,
    FindingKind.GLUED,
    FindingKind.BARE_STRETCH,
)
"""Kinds whose findings are understood only in their sentence."""


def print_report(report: CheckReport, console: Console, limit: int | None = 10) -> None:
    """Print the report, at most `limit` findings of each kind, or all."""
    for guess in report.read_as[:limit]:
        console.print(Text(f"{one_line(str(guess.path))}: {one_line(str(guess))}"), soft_wrap=True)
    if limit is not None and len(report.read_as) > limit:
        console.print(f"... and {len(report.read_as) - limit:,} more files", style="dim")
    console.print(_parts_table(report.parts))
    console.print(_labels_table(report.parts))
    if report.deep is not None:
        console.print(Text(str(report.deep)), soft_wrap=True)
    for kind, findings in report.by_kind().items():
        for line in _kind_lines(kind, findings, limit):
            console.print(line, soft_wrap=True)
    console.print()
    console.print(_summary(report), soft_wrap=True)


def as_text(report: CheckReport, limit: int | None = 10) -> str:
    """Return the report as plain text, as `print_report` writes it where there is no terminal."""
    console = Console(width=160, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as captured:
        print_report(report, console, limit)
    return captured.get()


def in_context(
    text: str, given: Span | None, proposed: Span | None = None, at: int | None = None
) -> Text:
    """Return a span in its context, or what is `at` a place: `met [Rome LOC -> PER] yesterday`."""
    spans = [span for span in (given, proposed) if span]
    if not spans:
        start = max(0, (at or 0) - _AROUND)
        end = start + 2 * _AROUND
        cut = ("... " if start else "", " ..." if end < len(text) else "")
        return Text(f"{cut[0]}{one_line(text[start:end])}{cut[1]}")
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    before, after = text[max(start - _AROUND, 0) : start], text[end : end + _AROUND]
    labels = [span.label if span else "O" for span in (given, proposed)]
    if given and (proposed is None or given.label == proposed.label):
        labels.pop()
    shown = Text(("... " if start > _AROUND else "") + one_line(before))
    shown.append("[", "dim").append(one_line(text[start:end]), "bold")
    shown.append(f" {one_line(' -> '.join(labels))}", "magenta").append("]", "dim")
    return shown.append(one_line(after) + (" ..." if end + _AROUND < len(text) else ""))


def _parts_table(parts: Sequence[PartCounts]) -> RenderableType:
    table = _table("corpus", "part")
    columns = {
        "sentences": "sentences",
        "without entity": "without_spans",
        "longest": "longest_sentence",
        "words": "words",
        "unknown words": "unknown_words",
        "entities": "spans",
        "misaligned": "misaligned",
    }
    for name in columns:
        table.add_column(name, justify="right")
    for part in parts:
        numbers = [f"{getattr(part, field):,}" for field in columns.values()]
        table.add_row(one_line(part.corpus), part.part, *numbers)
    return table


def _labels_table(parts: Sequence[PartCounts]) -> RenderableType:
    """Return entities by label and part of the data, of all corpora together, and shares."""
    counts: dict[str, Counter[str]] = {}
    for part in parts:
        counts.setdefault(part.part, Counter()).update(part.labels)
    labels = sum(counts.values(), Counter[str]())
    if not labels:
        return Group()
    table = _table("label")
    for name in counts:
        table.add_column(name, justify="right")
        table.add_column("share", justify="right")
    for label, _ in sorted(labels.items(), key=lambda item: (-item[1], item[0])):
        cells: list[str] = []
        for of_part in counts.values():
            n, total = of_part[label], of_part.total()
            cells += [f"{n:,}", f"{n / total:.1%}" if total else "-"]
        table.add_row(one_line(label), *cells)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _kind_lines(
    kind: FindingKind, findings: Sequence[Finding], limit: int | None
) -> Iterator[Text]:
    severity, title = kind.severity, kind.title[0].upper() + kind.title[1:]
    yield Text()
    heading = (f"{title}: {len(findings):,}", "bold")
    yield Text.assemble((severity.value, _STYLES[severity]), "  ", heading)
    yield Text(f"  {kind.advice}", "italic dim")
    shown = findings[:limit]
    for finding in shown:
        # A corpus may hold anything, also what would command a terminal.
        place = (f"{one_line(finding.place)}: ", "dim")
        yield Text.assemble("  ", place, one_line(finding.message))
        if kind in _SHOWN_IN_TEXT and finding.text:
            context = in_context(finding.text, finding.given, finding.proposed, finding.at)
            yield Text("      ").append_text(context)
        for example in finding.examples:
            place = (f"      {one_line(example.path)}:{example.line}: ", "dim")
            yield Text.assemble(place).append_text(in_context(example.text, example.given))
    if len(shown) < len(findings):
        yield Text(f"  ... and {len(findings) - len(shown):,} more", "dim")


def _summary(report: CheckReport) -> Text:
    if not report.findings:
        return Text("Nothing suspicious.", "green")
    parts = []
    for severity, n in report.count_severities().items():
        plural = "" if severity is Severity.INFORMATION or n == 1 else "s"
        parts.append(Text(f"{n:,} {severity.value}{plural}", _STYLES[severity] if n else "dim"))
    return Text(", ").join(parts)
