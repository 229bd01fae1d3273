"""The report of `teddy check`: tables and colours on a terminal, plain text elsewhere."""

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from teddy.training.check.kinds import Kind, Severity
from teddy.training.check.report import CheckReport, Finding, Marked, PartCounts

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFORMATION: "cyan"}
_AROUND = 60
"""Characters shown on each side of a span."""
_SHOWN_IN_TEXT = (
    Kind.LABEL_NOISE,
    Kind.BORDER_NOISE,
    Kind.SPURIOUS_NOISE,
    Kind.MISSING_NOISE,
    Kind.CROSSING,
    Kind.UNMARKED,
    Kind.MIXED_SCRIPT,
    Kind.MOJIBAKE,
)
"""Kinds whose findings can only be judged in their sentence."""


def print_report(report: CheckReport, console: Console, limit: int | None = 10) -> None:
    """Print the report, at most `limit` findings of each kind, or all."""
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


def in_context(text: str, given: Marked | None, proposed: Marked | None = None) -> Text:
    """Return a span in its context: `met [Rome LOC -> PER] yesterday`."""
    place = given or proposed
    if place is None:
        return Text(_one_line(text[: 2 * _AROUND]) + (" ..." if len(text) > 2 * _AROUND else ""))
    start = min(place.start, proposed.start) if proposed else place.start
    end = max(place.end, proposed.end) if proposed else place.end
    before, after = text[max(start - _AROUND, 0) : start], text[end : end + _AROUND]
    shown = Text(("... " if start > _AROUND else "") + _one_line(before))
    shown.append("[", "dim").append(_one_line(text[start:end]), "bold")
    shown.append(f" {_one_line(_labels(given, proposed))}", "magenta").append("]", "dim")
    return shown.append(_one_line(after) + (" ..." if end + _AROUND < len(text) else ""))


def _labels(given: Marked | None, proposed: Marked | None) -> str:
    labels = [each.label if each else "O" for each in (given, proposed)]
    return (
        labels[0] if given and (proposed is None or labels[0] == labels[1]) else " -> ".join(labels)
    )


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _parts_table(parts: Sequence[PartCounts]) -> RenderableType:
    table = _table("corpus", "part")
    for name in (
        "sentences",
        "without entity",
        "longest",
        "words",
        "unknown words",
        "entities",
        "misaligned",
    ):
        table.add_column(name, justify="right")
    for part in parts:
        numbers = (
            part.sentences,
            part.without_spans,
            part.longest_sentence,
            part.words,
            part.unknown_words,
            part.spans,
            part.misaligned,
        )
        table.add_row(_one_line(part.corpus), part.part, *(f"{number:,}" for number in numbers))
    return table


def _labels_table(parts: Sequence[PartCounts]) -> RenderableType:
    """Entities by label and part of the data, all corpora taken together, with their shares."""
    names = list(dict.fromkeys(part.part for part in parts))
    counts = {name: _sum_labels([part for part in parts if part.part == name]) for name in names}
    labels = sorted(
        set().union(*counts.values()),
        key=lambda label: -sum(each.get(label, 0) for each in counts.values()),
    )
    if not labels:
        return Group()
    table = _table("label")
    for name in names:
        table.add_column(name, justify="right")
        table.add_column("share", justify="right")
    for label in labels:
        cells: list[str] = []
        for name in names:
            n, total = counts[name].get(label, 0), sum(counts[name].values())
            cells += [f"{n:,}", f"{n / total:.1%}" if total else "-"]
        table.add_row(_one_line(label), *cells)
    return table


def _sum_labels(parts: Sequence[PartCounts]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in parts:
        for label, n in part.labels.items():
            counts[label] = counts.get(label, 0) + n
    return counts


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _kind_lines(kind: Kind, findings: Sequence[Finding], limit: int | None) -> Iterator[Text]:
    title = kind.title[0].upper() + kind.title[1:]
    yield Text()
    yield Text.assemble(
        (kind.severity.value, _STYLES[kind.severity]), "  ", (f"{title}: {len(findings):,}", "bold")
    )
    yield Text(f"  {kind.advice}", "italic dim")
    shown = findings if limit is None else findings[:limit]
    for finding in shown:
        yield from _finding_lines(finding)
    if len(shown) < len(findings):
        yield Text(f"  ... and {len(findings) - len(shown):,} more", "dim")


def _finding_lines(finding: Finding) -> Iterator[Text]:
    # A corpus may hold anything, also what would command a terminal.
    yield Text.assemble("  ", (f"{_one_line(finding.place)}: ", "dim"), _one_line(finding.message))
    if finding.kind in _SHOWN_IN_TEXT and finding.text:
        yield Text("      ").append_text(in_context(finding.text, finding.given, finding.proposed))
    for example in finding.examples:
        place = (f"      {_one_line(example.path)}:{example.line}: ", "dim")
        yield Text.assemble(place).append_text(in_context(example.text, example.given))


def _summary(report: CheckReport) -> Text:
    if not report.findings:
        return Text("Nothing suspicious.", "green")
    counts = report.count_severities()
    parts = [
        (f"{n:,} {_plural(severity, n)}", _STYLES[severity] if n else "dim")
        for severity, n in counts.items()
    ]
    return Text(", ").join(Text(text, style) for text, style in parts)


def _plural(severity: Severity, n: int) -> str:
    return severity.value if severity is Severity.INFORMATION or n == 1 else f"{severity.value}s"
