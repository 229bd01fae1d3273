"""An evaluation as files: `report.json`, `report.md`, `report.html` and two pictures."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from rich.cells import cell_len

from teddy.model.errors import TrainingError
from teddy.model.system.files import write_atomically
from teddy.model.tags.spans import Span
from teddy.training.evaluation.bootstrap import Intervals, count_table, score_intervals
from teddy.training.evaluation.evaluate import Evaluation, Mistake
from teddy.training.evaluation.mistakes import Confusion, MistakeKind
from teddy.training.evaluation.recall import RecallCurve
from teddy.training.evaluation.reliability import Bin
from teddy.training.evaluation.robustness import Robustness
from teddy.training.evaluation.scores import as_dicts
from teddy.training.report.background import Background
from teddy.training.report.drawings import draw_confusion, draw_reliability
from teddy.training.report.html import (
    EXPLAINED,
    MOST_ROWS,
    as_html,
    grouped_scores,
    mistakes_by_kind,
)
from teddy.training.report.html_page import most_frequent
from teddy.training.report.markdown import (
    code,
    corpus_table,
    escape,
    markdown_table,
    one_line,
    percent,
    score_table,
)

_MOST_CONFUSIONS = 12
_CONTEXT = 60  # characters to show on either side of a mistake


def write_report(
    evaluation: Evaluation,
    directory: Path | str,
    *,
    title: str = "Evaluation",
    robustness: Robustness | None = None,
    recall: RecallCurve | None = None,
    background: Background | None = None,
) -> None:
    """Write `report.json`, `report.md`, `report.html` and two pictures into `directory`.

    The pictures are `confusion.png` and `calibration.png`.

    Raises TrainingError when jinja2 (for the page) or matplotlib (for the pictures) is not
    installed, once the other files are written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    intervals = score_intervals_of(evaluation)
    fields = evaluation.as_dict() | {"intervals": intervals.as_dict()}
    fields |= {"robustness": robustness.as_dict()} if robustness else {}
    fields |= {"recall": recall.as_dict()} if recall else {}
    fields |= {"data": [part.as_dict() for part in background.data]} if background else {}
    content = json.dumps(fields, ensure_ascii=False, indent=1)
    write_atomically(directory / "report.json", content + "\n")
    markdown = as_markdown(evaluation, title, robustness, intervals, recall)
    write_atomically(directory / "report.md", markdown)
    labels = list(evaluation.scores.by_label)
    writers: tuple[Callable[[], None], ...] = (
        lambda: write_atomically(
            directory / "report.html",
            as_html(evaluation, intervals, title, robustness, background, recall),
        ),
        lambda: draw_confusion(evaluation.confusion, labels, directory / "confusion.png"),
        lambda: draw_reliability(evaluation.calibration, directory / "calibration.png"),
    )
    missing = []
    for write in writers:
        try:
            write()
        except TrainingError as error:
            missing.append(error)
    if missing:
        raise missing[0]


def score_intervals_of(evaluation: Evaluation) -> Intervals:
    """Give the intervals of an evaluation's scores, see `teddy.training.evaluation.bootstrap`."""
    labels = list(evaluation.scores.by_label)
    return score_intervals(count_table(evaluation.by_sentence, labels), labels)


def as_markdown(
    evaluation: Evaluation,
    title: str = "Evaluation",
    robustness: Robustness | None = None,
    intervals: Intervals | None = None,
    recall: RecallCurve | None = None,
) -> str:
    """Write the evaluation as Markdown that is as good to read in a terminal."""
    sections = [
        [f"# {escape(title)}", "", *_summary(evaluation, intervals)],
        ["## By label", "", *_label_table(evaluation)],
        *_slices(evaluation),
        *([[*robustness.section()]] if robustness else []),
        *([[*recall.section()]] if recall else []),
        ["## Do scores mean what they say?", "", *_calibration(evaluation)],
        ["## What went wrong", "", *_kinds(evaluation), "", *_confusions(evaluation.confusion)],
        *_mistakes(evaluation),
    ]
    return "\n\n".join("\n".join(section).strip("\n") for section in sections) + "\n"


def _summary(evaluation: Evaluation, intervals: Intervals | None) -> Iterator[str]:
    micro, conlleval = evaluation.scores.micro, evaluation.conlleval
    yield f"**F1 {micro.f1:.2%}** (precision {micro.precision:.2%}, recall {micro.recall:.2%}) on"
    yield f"{evaluation.n_sentences:,} sentences, {evaluation.n_words:,} words,"
    yield f"{micro.gold:,} entities."
    if intervals:
        low, high = intervals.micro.f1.low, intervals.micro.f1.high
        yield f"F1 of other samples of such sentences: {low:.2%} to {high:.2%} (95 %, bootstrap)."
    yield ""
    yield "An entity is right when its start, end and label are right. By the rules of conlleval:"
    yield f"F1 {conlleval.spans.micro.f1:.2%}, accuracy of the words {conlleval.accuracy:.2%}."
    if evaluation.n_misaligned:
        yield ""
        yield f"{evaluation.n_misaligned:,} annotated entities begin or end inside a word,"
        yield "and count as missed."
    if evaluation.n_ignored:
        yield ""
        yield f"{evaluation.n_ignored:,} predicted entities are not counted:"
        yield "the data do not annotate their labels."


def _label_table(evaluation: Evaluation) -> list[str]:
    scores = evaluation.scores
    shown = most_frequent(scores.by_label, MOST_ROWS, lambda counts: counts.gold)
    rows = {code(label): counts.as_dict() for label, counts in shown.items()}
    rows |= {"**all** (micro)": scores.micro.as_dict()}
    table = score_table("label", rows | {"mean of the labels (macro)": asdict(scores.macro)})
    if len(shown) < len(scores.by_label):
        n = len(scores.by_label)
        table += ["", f"The {MOST_ROWS} most frequent of {n:,} labels; report.json has all."]
    return table


def _slices(evaluation: Evaluation) -> Iterator[list[str]]:
    if len(evaluation.by_corpus) > 1:
        corpora = as_dicts(evaluation.by_corpus)
        micro = {code(name): scores["micro"] for name, scores in corpora.items()}
        yield ["## By corpus", "", *score_table("corpus", micro), "", "F1 of each label:", ""]
        by_label = {name: scores.by_label for name, scores in evaluation.by_corpus.items()}
        f1 = {name: as_dicts(scores) for name, scores in grouped_scores(by_label).items()}
        yield corpus_table(f1)
    if evaluation.by_surface:
        table = score_table("these very words", as_dicts(evaluation.by_surface))
        yield ["## Seen in training, or not", "", *table]
    yield ["## By length", "", *score_table("words", as_dicts(evaluation.by_length))]


def _calibration(evaluation: Evaluation) -> Iterator[str]:
    calibration = evaluation.calibration
    if not calibration.total.n:
        yield "No predicted entity has a score."
        return
    yield f"Expected calibration error **{calibration.error:.2%}** (Naeini et al. 2015): the mean"
    yield "difference between the scores of predicted entities and the share that is right."
    yield ""
    step = 1 / len(calibration.bins)
    rows = [
        [f"{i * step:.1f} to {(i + 1) * step:.1f}", *_promise(each)]
        for i, each in enumerate(calibration.bins)
    ]
    yield from markdown_table(["score", *_PROMISE_HEADS], rows)
    for head, parts in (
        ("label", evaluation.calibration_by_label),
        ("corpus", evaluation.calibration_by_corpus),
    ):
        if len(parts) > 1:
            rows = [
                [code(name), *_promise(each.total), percent(each.error)]
                for name, each in most_frequent(parts, MOST_ROWS, lambda of: of.total.n).items()
                if each.total.n
            ]
            yield ""
            yield from markdown_table([head, *_PROMISE_HEADS, "calibration error"], rows)
    yield ""
    yield "![Scores against the share that is right](calibration.png)"


_PROMISE_HEADS = ["predicted", "mean score", "right", "promised too much"]


def _promise(each: Bin) -> list[str]:
    shares = [percent(each.mean_score), percent(each.share_right), f"{each.gap:+.2%}"]
    return [f"{each.n:,}", *(shares if each.n else [])]


def _kinds(evaluation: Evaluation) -> Iterator[str]:
    yield "The cost of each kind of mistake: the scores if none of that kind had been made."
    yield ""
    micro = evaluation.scores.micro
    rows = []
    for kind, n in evaluation.n_by_kind.items():
        without = evaluation.without(kind)
        ratios = [percent(without.precision), percent(without.recall), percent(without.f1)]
        gain = "" if kind is MistakeKind.CORRECT else f"{without.f1 - micro.f1:+.2%}"
        rows.append([kind.value, f"{n:,}", *ratios, gain, EXPLAINED.get(kind, "")])
    yield from markdown_table(["", "times", "precision", "recall", "F1", "gain", ""], rows)


def _confusions(confusion: Confusion) -> Iterator[str]:
    equal = ((*pair, n, "") for pair, n in confusion.equal_borders.items() if pair[0] != pair[1])
    wrong = ((*pair, n, "wrong borders") for pair, n in confusion.wrong_borders.items())
    cells = [*equal, *wrong]
    cells.sort(key=lambda cell: -cell[2])
    rows = [
        [code(gold) if gold else "nothing", code(found) if found else "nothing", f"{n:,}", remark]
        for gold, found, n, remark in cells[:_MOST_CONFUSIONS]
    ]
    if rows:
        yield "The most frequent; the picture has them together:"
        yield ""
        yield from markdown_table(["annotated", "predicted", "times", ""], rows)
        yield ""
    yield "![Annotated labels against predicted ones](confusion.png)"


def _mistakes(evaluation: Evaluation) -> Iterator[list[str]]:
    for kind, explained, shown in mistakes_by_kind(evaluation):
        yield [f"## {kind.value.capitalize()}", "", explained]
        yield from map(_drawn, shown)


def _drawn(mistake: Mistake) -> list[str]:
    """Where the mistake is, and its text with the spans underlined, as a compiler shows a fault."""
    spans = [span for span in (mistake.gold, mistake.predicted) if span]
    start = max(0, min(span.start for span in spans) - _CONTEXT)
    end = min(len(mistake.text), max(span.end for span in spans) + _CONTEXT)
    before, after = "…" if start else "", "…" if end < len(mistake.text) else ""
    text = one_line(mistake.text)
    lines = [f"    {before}{text[start:end]}{after}"]
    for span, role, score in (
        (mistake.gold, "annotated", None),
        (mistake.predicted, "predicted", mistake.score),
    ):
        if span:
            indent = " " * cell_len(before + text[start : span.start])
            sure = "" if score is None else f", {score:.2f}"
            lines.append(f"    {indent}{_underline(text, span)} {role} {span.label}{sure}")
    return [f"{code(f'{mistake.path}:{mistake.line}')}", "", *lines]


def _underline(text: str, span: Span) -> str:
    return "^" * max(1, cell_len(text[span.start : span.end]))
