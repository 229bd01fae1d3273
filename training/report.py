"""An evaluation as files: `report.json` for programs, `report.md` for people, `confusion.png` for the eye."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from model.files import write_atomically
from model.spans import Span
from training.evaluate import Evaluation, Mistake
from training.figures import new_figure, save_figure
from training.mistakes import Confusion, Kind
from training.scores import Counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_CONFUSIONS = 12
_CONTEXT = 60  # characters to show on either side of a mistake

_EXPLAINED = {
    Kind.LABEL: "The borders are right, the label is not.",
    Kind.BORDERS: "An entity was seen here, but it begins or ends elsewhere.",
    Kind.SPURIOUS: "Nothing is annotated here.",
    Kind.MISSED: "Nothing was predicted here.",
}


def write_report(evaluation: Evaluation, directory: Path | str, *, title: str = "Evaluation") -> None:
    """Write `report.json`, `report.md` and `confusion.png` into `directory`, which is made if need be.

    Raises: TrainingError where matplotlib is not installed; the other two files are then written all the same.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / "report.json", json.dumps(evaluation.as_dict(), ensure_ascii=False, indent=1) + "\n")
    write_atomically(directory / "report.md", as_markdown(evaluation, title))
    draw_confusion(evaluation.confusion, list(evaluation.scores.by_label), directory / "confusion.png")


def as_markdown(evaluation: Evaluation, title: str = "Evaluation") -> str:
    """Write the evaluation as Markdown that is as good to read in a terminal."""
    sections = [
        [f"# {_escape(title)}", "", *_summary(evaluation)],
        ["## By label", "", *_label_table(evaluation)],
        *_slices(evaluation),
        ["## What went wrong", "", *_kind_table(evaluation), "", *_confusions(evaluation.confusion)],
        *_mistakes(evaluation),
    ]
    return "\n\n".join("\n".join(section).strip("\n") for section in sections) + "\n"


def _summary(evaluation: Evaluation) -> Iterator[str]:
    micro, conlleval = evaluation.scores.micro, evaluation.conlleval
    yield f"**F1 {micro.f1:.2%}** (precision {micro.precision:.2%}, recall {micro.recall:.2%}) on"
    yield f"{evaluation.n_sentences:,} sentences, {evaluation.n_words:,} words, {micro.gold:,} entities."
    yield ""
    yield "An entity counts as found when its start, end and label are all right. By the rules of conlleval:"
    yield f"F1 {conlleval.spans.micro.f1:.2%}, accuracy of the words {conlleval.accuracy:.2%}."
    if evaluation.n_misaligned:
        yield ""
        yield f"{evaluation.n_misaligned:,} annotated entities begin or end inside a word and count as missed."
    if evaluation.n_ignored:
        yield ""
        yield f"{evaluation.n_ignored:,} predicted entities are not counted: the data cannot judge them."


def _label_table(evaluation: Evaluation) -> list[str]:
    macro = evaluation.scores.macro
    rows = [_score_row(_code(label), counts) for label, counts in evaluation.scores.by_label.items()]
    rows.append(_score_row("**all** (micro)", evaluation.scores.micro))
    rows.append(["mean of the labels (macro)", _percent(macro.precision), _percent(macro.recall), _percent(macro.f1)])
    return _table(["label", *_SCORE_HEADS], rows)


_SCORE_HEADS = ["precision", "recall", "F1", "annotated", "predicted", "correct"]


def _score_row(name: str, counts: Counts) -> list[str]:
    ratios = [_percent(counts.precision), _percent(counts.recall), _percent(counts.f1)]
    return [name, *ratios, f"{counts.gold:,}", f"{counts.predicted:,}", f"{counts.correct:,}"]


def _slices(evaluation: Evaluation) -> Iterator[list[str]]:
    corpora = {_code(name): scores.micro for name, scores in evaluation.by_corpus.items()}
    if len(corpora) > 1:
        yield ["## By corpus", "", *_slice_table("corpus", corpora)]
    if evaluation.by_surface:
        yield ["## Seen in training, or not", "", *_slice_table("these very words", evaluation.by_surface)]
    yield ["## By length", "", *_slice_table("words", evaluation.by_length)]


def _slice_table(head: str, rows: Mapping[str, Counts]) -> list[str]:
    return _table([head, *_SCORE_HEADS], [_score_row(name, counts) for name, counts in rows.items()])


def _kind_table(evaluation: Evaluation) -> list[str]:
    rows = [[kind.value, f"{n:,}", _EXPLAINED.get(kind, "")] for kind, n in evaluation.n_by_kind.items()]
    return _table(["", "entities", ""], rows)


def _confusions(confusion: Confusion) -> Iterator[str]:
    cells = [(gold, found, n, "") for (gold, found), n in confusion.equal_borders.items() if gold != found]
    cells += [(gold, found, n, "wrong borders") for (gold, found), n in confusion.wrong_borders.items()]
    cells.sort(key=lambda cell: -cell[2])
    rows = [
        [_code(gold) if gold else "nothing", _code(found) if found else "nothing", f"{n:,}", remark]
        for gold, found, n, remark in cells[:_MOST_CONFUSIONS]
    ]
    if rows:
        yield "The most frequent; all of them are in the picture:"
        yield ""
        yield from _table(["annotated", "predicted", "times", ""], rows)
        yield ""
    yield "![Annotated labels against predicted ones](confusion.png)"


def _mistakes(evaluation: Evaluation) -> Iterator[list[str]]:
    for kind, explained in _EXPLAINED.items():
        shown = [mistake for mistake in evaluation.mistakes if mistake.kind is kind]
        if not shown:
            continue
        total = evaluation.n_by_kind[kind]
        how_many = f"All {total:,}" if len(shown) == total else f"{len(shown):,} of {total:,}"
        surest = ", those first of which the tagger was surest" if any(one.score is not None for one in shown) else ""
        yield [f"## {kind.value.capitalize()}", "", f"{explained} {how_many}{surest}."]
        yield from (_drawn(mistake) for mistake in shown)


def _drawn(mistake: Mistake) -> list[str]:
    """Where the mistake is, and its text with the spans underlined, as a compiler shows a fault."""
    spans = [span for span in (mistake.gold, mistake.predicted) if span]
    start = max(0, min(span.start for span in spans) - _CONTEXT)
    end = min(len(mistake.text), max(span.end for span in spans) + _CONTEXT)
    before, after = "…" if start else "", "…" if end < len(mistake.text) else ""
    text = _one_line(mistake.text)
    lines = [f"    {before}{text[start:end]}{after}"]
    for span, role, score in ((mistake.gold, "annotated", None), (mistake.predicted, "predicted", mistake.score)):
        if span:
            indent = " " * cell_len(before + text[start : span.start])
            sure = "" if score is None else f", {score:.2f}"
            lines.append(f"    {indent}{_underline(text, span)} {role} {span.label}{sure}")
    return [f"{_code(f'{mistake.path}:{mistake.line}')}", "", *lines]


def _underline(text: str, span: Span) -> str:
    return "^" * max(1, cell_len(text[span.start : span.end]))


def _one_line(text: str) -> str:
    """Put a space for every character that would move the cursor, so that the underlining stays in place."""
    return "".join(character if character.isprintable() else " " for character in text)


def _table(heads: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Write a Markdown table whose columns also line up as plain text: names to the left, numbers to the right."""
    rows = [row + [""] * (len(heads) - len(row)) for row in rows]
    numeric = [_is_numeric(row[i] for row in rows) for i in range(len(heads))]
    widths = [max(3, *(cell_len(row[i]) for row in [heads, *rows])) for i in range(len(heads))]

    def line(cells: list[str]) -> str:
        padding = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        aligned = [
            space + cell if right else cell + space for cell, space, right in zip(cells, padding, numeric, strict=True)
        ]
        return f"| {' | '.join(aligned)} |"

    rule = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)]
    return [line(heads), line(rule), *map(line, rows)]


def _is_numeric(cells: Iterable[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(cell[0].isdigit() and cell[-1] in "0123456789%" for cell in filled)


def _percent(ratio: float) -> str:
    return f"{ratio:.2%}"


def _code(name: str) -> str:
    """Show a name as it is, whatever Markdown would read into it."""
    return f"`{name.replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def _escape(text: str) -> str:
    return "".join(f"\\{character}" if character in "\\`*_[]<>#|" else character for character in _one_line(text))


def draw_confusion(confusion: Confusion, labels: list[str], path: Path | str) -> None:
    """Draw gold labels against predicted ones as a PNG: on the left spans with equal borders, on the right the others.

    The number in a cell says how many; its shade, which share of the annotated entities of the row's label (over both
    panels), and in the row of the spurious ones, which share of the predicted entities of the column's label.

    Raises: TrainingError where matplotlib is not installed.
    """
    cells = [*confusion.equal_borders, *confusion.wrong_borders]
    others = {label for pair in cells for label in pair if label is not None} - set(labels)
    names: list[str | None] = [*labels, *sorted(others)]
    side = 1.2 + 0.55 * len(names)
    figure = new_figure(2 * side + 3.5, side + 1.6)
    equal, wrong = figure.subplots(1, 2, width_ratios=[len(names) + 1, max(len(names), 1)])
    _draw_cells(equal, confusion.equal_borders, [*names, None], _totals(confusion))
    _draw_cells(wrong, confusion.wrong_borders, names, _totals(confusion))
    equal.set_title("Equal borders")
    wrong.set_title("Overlapping, other borders")
    save_figure(figure, path)


def _totals(confusion: Confusion) -> dict[tuple[str | None, str | None], int]:
    """Give, for each cell, of how many its shade is a share: all of the gold label, or of the predicted if spurious."""
    cells = confusion.equal_borders + confusion.wrong_borders
    of_gold: Counter[str | None] = Counter()
    of_predicted: Counter[str | None] = Counter()
    for (gold, predicted), n in cells.items():
        of_gold[gold] += n
        of_predicted[predicted] += n
    return {(gold, found): of_predicted[found] if gold is None else of_gold[gold] for gold, found in cells}


def _draw_cells(
    axes: "Axes",
    cells: Mapping[tuple[str | None, str | None], int],
    names: list[str | None],
    totals: Mapping[tuple[str | None, str | None], int],
) -> None:
    counts = [[cells.get((gold, predicted), 0) for predicted in names] for gold in names]
    # The square root lets a share of a few in a hundred still be seen beside the diagonal.
    shades = [[(cells.get(cell, 0) / totals.get(cell, 1)) ** 0.5 for cell in product([gold], names)] for gold in names]
    if names:
        axes.imshow(shades, cmap="Blues", vmin=0.0, vmax=1.0)
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            if names[i] is None and names[j] is None:
                continue
            colour = "white" if shades[i][j] > 0.6 else "black" if n else "#B0B0B0"
            axes.text(j, i, f"{n:,}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), ["missed" if name is None else name for name in names], rotation=45, ha="right")
    axes.set_yticks(range(len(names)), ["spurious" if name is None else name for name in names])
    axes.set_xlabel("predicted label")
    axes.set_ylabel("annotated label")
