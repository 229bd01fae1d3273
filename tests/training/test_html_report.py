"""The page of an evaluation: whole, alone, escaped, and saying what was counted."""

import re
import sys
from pathlib import Path

import pytest

from teddy.model.errors import TrainingError
from teddy.model.file.bundle import TrainingData
from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.evaluation.evaluate import Evaluation, ScoredSpan, evaluate
from teddy.training.recipe.sections import CardConfig
from teddy.training.report.background import Background, ModelFacts, count_corpus
from teddy.training.report.html import as_html, duration
from teddy.training.report.html_page import excerpt
from teddy.training.report.machine import CostMeter, this_machine
from teddy.training.report.writing import score_intervals_of, write_report
from tests.training.html_page import Page, assert_is_whole_and_alone

WICKED = "<script>alert('Ada')</script> & \"Ada\" <b>met</b> Ngo"
HEBREW = "אמר מר תדי רוזוולט"


def sentence(text: str, *spans: Span, corpus: str = "letters") -> Sentence:
    offsets = tuple((match.start(), match.end()) for match in re.finditer(r"\S+", text))
    return Sentence(
        words=tuple(text[start:end] for start, end in offsets),
        offsets=offsets,
        spans=spans,
        unknown=(),
        misaligned=(),
        corpus=corpus,
        text=text,
        path="letters/dev.conll",
        line=7,
        tokeniser=Tokeniser(),
    )


def measured(*texts: str, label: str = "PER") -> Evaluation:
    """In each text the first two words are an entity; predicted are the second and third."""
    sentences = [sentence(text, Span(0, 2, label)) for text in texts]
    return evaluate(
        lambda asked: [[ScoredSpan(Span(1, 3, label), 0.875)] for _ in asked], sentences, seen={"x"}
    )


def page_of(
    evaluation: Evaluation, background: Background | None = None, title: str = "a report"
) -> Page:
    return assert_is_whole_and_alone(
        as_html(evaluation, score_intervals_of(evaluation), title, None, background)
    )


def everything_known() -> Background:
    """A background in which no part is missing, and every word of a person is wicked."""
    part = count_corpus(WICKED, "train", [sentence("Ada spoke", Span(0, 1, WICKED))])
    update = {"kind": "update", "loss": 0.5, "gradient_norm": 1.0, "learning_rate": 0.01}
    return Background(
        data=[part],
        model=ModelFacts(
            name=WICKED,
            language="en",
            labels=(WICKED,),
            training_data=(TrainingData(name=WICKED, licence=WICKED, source=WICKED),),
            card=CardConfig(
                description=WICKED, limits=WICKED, labels={WICKED: WICKED}, licence=WICKED
            ),
        ),
        rows=[
            *({**update, "step": step} for step in (1, 2, 3)),
            {"kind": "evaluation", "step": 3, "f1": 0.5},
        ],
        recipe=f'name = "{WICKED}"',
        machine=this_machine(),
        precision="fp32",
        cost=CostMeter().cost([{"kind": "updates", "seconds": 4.0, "words": 1000}]),
    )


def test_whatever_a_text_holds_it_is_text() -> None:
    page = page_of(measured(WICKED, label="<i>"), everything_known(), title=WICKED)
    assert "<script>alert('Ada')</script>" in page.text
    assert {"b", "i", "span", "mark"} & {tag for tag, _ in page.elements} >= {"mark", "span"}
    assert page.text.count(WICKED) >= 8


@pytest.mark.parametrize(
    "text",
    ["Ada Ngo\u0000 \u0007met", "Ada \ud800 Ngo", HEBREW, "\u202eAda Ngo met", "Ada Ngo met 🧸"],
)
def test_a_page_can_be_written_of_any_text(text: str) -> None:
    html = as_html(evaluation := measured(text), score_intervals_of(evaluation))
    assert "\u0000" not in html
    assert html.encode("utf-8")
    assert_is_whole_and_alone(html)


def test_a_text_finds_its_own_direction_apart_from_the_page() -> None:
    page = page_of(measured(HEBREW))
    assert [
        each for each in page.all("p") if each.get("class") == "text" and each.get("dir") != "auto"
    ] == []
    assert [text for _, text in page.marks if text in HEBREW]


def test_the_spans_of_a_mistake_are_marked_where_they_are() -> None:
    segments = excerpt(
        "We met Ada Ngo today", {"gold": Span(7, 14, "PER"), "predicted": Span(11, 20, "PER")}
    )
    assert [(each.text, each.roles) for each in segments] == [
        ("We met ", ()),
        ("Ada ", ("gold",)),
        ("Ngo", ("gold", "predicted")),
        (" today", ("predicted",)),
    ]


def test_an_excerpt_is_cut_between_words_and_says_so() -> None:
    text = "before " * 100 + "Ada" + " after" * 100
    (cut, before, marked, after, cut_again) = excerpt(
        text, {"gold": Span(700, 703, "PER"), "predicted": None}
    )
    assert (cut.text, marked.text, cut_again.text) == ("…", "Ada", "…")
    assert before.text.startswith("before ")
    assert after.text.endswith(" after")
    assert len(before.text) <= 140


def test_the_page_says_what_was_counted() -> None:
    evaluation = measured("Ada Ngo met", "Bo Li met", "Cy Oz met")
    page = page_of(evaluation, everything_known())
    for said in (
        "0.00%",
        "95 % interval",
        "wrong borders",
        "letters/dev.conll:7",
        "0.88",
        "1,000",
        this_machine().torch,
    ):
        assert said in page.text
    assert len(page.all("svg")) == 5  # loss, F1, gradient norm, learning rate, reliability


def test_without_matplotlib_a_page_has_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert page_of(measured("Ada Ngo met"), everything_known()).all("svg") == []


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ("jinja2", {"report.json", "report.md", "confusion.png", "calibration.png"}),
        ("matplotlib.figure", {"report.json", "report.md", "report.html"}),
    ],
)
def test_what_can_be_written_without_a_library_is_written(
    missing: str, left: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(TrainingError, match=r"need .*teddy\[train\]"):
        write_report(measured("Ada Ngo met"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == left


def test_the_same_evaluation_gives_the_same_page() -> None:
    evaluation, background = measured("Ada Ngo met"), everything_known()
    pages = {
        as_html(evaluation, score_intervals_of(evaluation), "again", None, background)
        for _ in range(2)
    }
    assert len(pages) == 1


def test_the_intervals_of_no_sentences_are_written() -> None:
    page_of(measured())


# What a run cost.


def test_a_cost_adds_up_all_processes_of_a_run() -> None:
    timings = [
        {"kind": "start", "step": 0},
        {"kind": "updates", "seconds": 2.0, "words": 100},
        {"kind": "end", "process_seconds": 3.0},
        {"kind": "start", "step": 5},
        {"kind": "updates", "seconds": 2.0, "words": 300},
        {"kind": "evaluation", "evaluation_seconds": 0.5},
    ]
    cost = CostMeter().cost(timings)
    assert (cost.n_processes, cost.words, cost.training_seconds, cost.evaluation_seconds) == (
        2,
        400,
        4.0,
        0.5,
    )
    assert cost.words_per_second == 100
    assert 3.0 <= cost.seconds < 60
    assert cost.peak_bytes > 10_000_000


def test_without_timings_there_is_no_speed() -> None:
    cost = CostMeter().cost([])
    assert (cost.words, cost.training_seconds, cost.words_per_second) == (None, None, None)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (61, "1 min 1 s"),
        (7260, "2 h 1 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
