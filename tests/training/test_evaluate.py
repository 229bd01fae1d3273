import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.evaluation.evaluate import Evaluation, Predict, ScoredSpan, evaluate, surfaces
from teddy.training.evaluation.mistakes import MistakeKind
from teddy.training.evaluation.reliability import Reliability
from teddy.training.evaluation.scores import Counts
from teddy.training.report.writing import as_markdown, score_intervals_of, write_report

PNG = b"\x89PNG\r\n\x1a\n"
LABELS = ["PER", "ORG", "LOC"]


def sentence(
    text: str,
    spans: Sequence[Span] = (),
    *,
    unknown: Sequence[tuple[int, int]] = (),
    misaligned: Sequence[Span] = (),
    corpus: str = "letters",
    line: int = 1,
) -> Sentence:
    offsets = tuple((match.start(), match.end()) for match in re.finditer(r"\S+", text))
    return Sentence(
        words=tuple(text[start:end] for start, end in offsets),
        offsets=offsets,
        spans=tuple(spans),
        unknown=tuple(unknown),
        misaligned=tuple(misaligned),
        corpus=corpus,
        text=text,
        path="letters/dev.conll",
        line=line,
        tokeniser=Tokeniser(),
    )


def always(*predictions: Sequence[Span | ScoredSpan]) -> Predict:
    """Make a tagger that gives these, whatever it is asked."""
    answers = [
        [ScoredSpan(each) if isinstance(each, Span) else each for each in predicted]
        for predicted in predictions
    ]
    return lambda _: answers


def flat(spans: list[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(spans):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


spans = st.builds(
    lambda start, length, label: Span(start, start + length, label),
    st.integers(0, 7),
    st.integers(1, 5),
    st.sampled_from(LABELS),
)
flat_spans = st.lists(spans, max_size=8, unique=True).map(flat)
TEXT = "We met Ada Ngo of Blue Heron Press in the port of Old Lisse"
cases = st.lists(
    st.tuples(flat_spans, flat_spans, st.sampled_from(["letters", "diaries"])), max_size=5
)


def evaluate_cases(
    cases: list[tuple[list[Span], list[Span], str]], seen: frozenset[str] | None = None
) -> Evaluation:
    sentences = [sentence(TEXT, gold, corpus=corpus) for gold, _, corpus in cases]
    return evaluate(always(*[predicted for _, predicted, _ in cases]), sentences, seen=seen)


# Evaluation.


@given(cases)
@settings(deadline=None)
def test_every_division_of_the_spans_adds_up_to_the_whole(
    cases: list[tuple[list[Span], list[Span], str]],
) -> None:
    evaluation = evaluate_cases(cases, seen=frozenset({"Ada Ngo", "Lisse"}))
    micro = evaluation.scores.micro
    assert sum((scores.micro for scores in evaluation.by_corpus.values()), Counts()) == micro
    assert sum(evaluation.by_length.values(), Counts()) == micro
    assert sum(evaluation.by_surface.values(), Counts()) == micro
    kinds = evaluation.n_by_kind
    assert kinds[MistakeKind.CORRECT] == micro.correct
    paired = (
        kinds[MistakeKind.CORRECT]
        + kinds[MistakeKind.LABEL]
        + kinds[MistakeKind.BORDERS]
        + kinds[MistakeKind.BOTH]
    )
    assert paired + kinds[MistakeKind.MISSED] == micro.gold
    assert paired + kinds[MistakeKind.SPURIOUS] == micro.predicted


@given(cases)
@settings(deadline=None)
def test_conlleval_agrees_with_the_strict_scores_when_words_express_everything(
    cases: list[tuple[list[Span], list[Span], str]],
) -> None:
    evaluation = evaluate_cases(cases)
    assert evaluation.conlleval.spans.micro == evaluation.scores.micro
    assert evaluation.conlleval.words == evaluation.n_words == len(cases) * len(TEXT.split())


@given(cases)
@settings(deadline=None)
def test_a_tagger_that_gives_the_gold_is_perfect(
    cases: list[tuple[list[Span], list[Span], str]],
) -> None:
    evaluation = evaluate_cases([(gold, gold, corpus) for gold, _, corpus in cases])
    assert (
        evaluation.scores.micro.correct
        == evaluation.scores.micro.gold
        == evaluation.scores.micro.predicted
    )
    assert evaluation.mistakes == ()
    assert evaluation.conlleval.correct_words == evaluation.n_words


def test_labels_that_the_corpus_does_not_annotate_are_not_counted_as_mistakes() -> None:
    letters = sentence("Ada lives in Lisse", [Span(0, 1, "PER")])
    diaries = sentence("Ada lives in Lisse", [Span(0, 1, "PER")], corpus="diaries")
    found = [Span(0, 1, "PER"), Span(3, 4, "LOC")]
    evaluation = evaluate(always(found, found), [letters, diaries], {"letters": {"PER"}})
    assert evaluation.by_corpus["letters"].micro == Counts(1, 1, 1)
    assert evaluation.by_corpus["diaries"].micro == Counts(1, 2, 1)
    assert evaluation.n_ignored == 1
    assert [mistake.corpus for mistake in evaluation.mistakes] == ["diaries"]


def test_a_prediction_where_the_gold_is_unknown_is_not_counted_unless_it_is_gold() -> None:
    known = sentence("Ada met Bo in Lisse", [Span(0, 1, "PER")], unknown=[(2, 5)])
    evaluation = evaluate(
        always([Span(0, 1, "PER"), Span(2, 3, "PER"), Span(1, 3, "PER")]), [known]
    )
    assert evaluation.scores.micro == Counts(1, 1, 1)
    assert evaluation.n_ignored == 2


@pytest.mark.parametrize("predicted", [[], [Span(0, 1, "LOC")], [Span(0, 4, "LOC")]])
def test_gold_that_no_words_express_counts_as_missed_whatever_is_predicted(
    predicted: list[Span],
) -> None:
    # The misaligned span is in characters: (0, 4) there is not the four words (0, 4).
    broken = sentence("Oslo-based firms pay well", misaligned=[Span(0, 4, "LOC")], unknown=[(0, 1)])
    evaluation = evaluate(always(predicted), [broken])
    assert evaluation.scores.micro == Counts(gold=1, predicted=len(predicted), correct=0)
    assert evaluation.n_misaligned == 1
    assert evaluation.n_ignored == 0
    assert Span(0, 4, "LOC") in [
        one.gold for one in evaluation.mistakes if one.kind is MistakeKind.MISSED
    ]


def test_lengths_are_counted_in_words_of_the_gold_and_of_the_prediction() -> None:
    evaluation = evaluate(
        always([Span(0, 1, "PER"), Span(3, 8, "ORG")]), [sentence(TEXT, [Span(0, 2, "PER")])]
    )
    assert evaluation.by_length == {
        "1": Counts(0, 1, 0),
        "2": Counts(1, 0, 0),
        "3": Counts(),
        "4+": Counts(0, 1, 0),
    }


def test_a_surface_is_seen_when_training_had_the_same_words_as_an_entity() -> None:
    seen = surfaces([sentence("I know Ada  Ngo", [Span(2, 4, "PER")])])
    assert seen == {"Ada Ngo"}
    dev = sentence("Ada Ngo knows Bo", [Span(0, 2, "PER"), Span(3, 4, "PER")])
    evaluation = evaluate(always([Span(0, 2, "PER")]), [dev], seen=seen)
    assert evaluation.by_surface == {"seen": Counts(1, 1, 1), "unseen": Counts(1, 0, 0)}
    assert evaluate(always([]), [dev]).by_surface == {}


def test_of_each_kind_the_surest_mistakes_come_first_and_no_more_than_asked_for() -> None:
    sentences = [sentence(f"Word{i} and so on", line=i) for i in range(5)]
    scores = [0.2, 0.9, 0.5, 0.99, 0.1]
    predictions = [[ScoredSpan(Span(0, 1, "PER"), score)] for score in scores]
    evaluation = evaluate(always(*predictions), sentences, worst=3)
    assert [mistake.line for mistake in evaluation.mistakes] == [3, 1, 2]
    assert evaluation.n_by_kind[MistakeKind.SPURIOUS] == 5


def test_without_scores_mistakes_come_in_the_order_of_the_sentences() -> None:
    sentences = [sentence("Ada came", [Span(0, 1, "PER")], line=i) for i in range(4)]
    evaluation = evaluate(always([], [], [], []), sentences, worst=3)
    assert [mistake.line for mistake in evaluation.mistakes] == [0, 1, 2]


def test_a_mistake_says_where_it_is_in_characters_of_the_text() -> None:
    text = "Yes ,  Ada   Ngo came"
    mistake = evaluate(
        always([Span(2, 3, "ORG")]), [sentence(text, [Span(2, 4, "PER")], line=7)]
    ).mistakes[0]
    assert (mistake.path, mistake.line, mistake.text) == ("letters/dev.conll", 7, text)
    assert mistake.gold == Span(7, 16, "PER")
    assert mistake.predicted == Span(7, 10, "ORG")


def test_a_tagger_that_gives_too_few_results_is_refused() -> None:
    with pytest.raises(ValueError, match="2 sentences, but predictions for 1"):
        evaluate(always([]), [sentence("one"), sentence("two")])


def test_no_sentences_give_an_evaluation_of_nothing() -> None:
    evaluation = evaluate(always(), [], labels=LABELS)
    assert evaluation.scores.micro == Counts()
    assert list(evaluation.scores.by_label) == LABELS


@given(flat_spans, flat_spans)
@settings(deadline=None)
def test_what_a_corpus_does_not_annotate_counts_neither_as_gold_nor_as_predicted(
    gold: list[Span], predicted: list[Span]
) -> None:
    def annotated(spans: list[Span]) -> list[Span]:
        return [span for span in spans if span.label != "ORG"]

    partly = evaluate(
        always(predicted), [sentence(TEXT, gold, corpus="diaries")], {"diaries": ["PER", "LOC"]}
    )
    wholly = evaluate(
        always(annotated(predicted)), [sentence(TEXT, annotated(gold), corpus="diaries")]
    )
    assert partly.scores == wholly.scores
    assert partly.conlleval == wholly.conlleval
    assert partly.confusion == wholly.confusion
    assert partly.n_ignored == len(predicted) - len(annotated(predicted))


# Calibration.

scored_cases = st.lists(
    st.tuples(
        flat_spans,
        flat_spans.flatmap(
            lambda spans: st.tuples(
                *[st.builds(ScoredSpan, st.just(span), st.floats(0, 1)) for span in spans]
            )
        ),
        st.sampled_from(["letters", "diaries"]),
    ),
    max_size=4,
)


@given(scored_cases)
@settings(deadline=None)
def test_calibration_counts_every_scorable_span_with_a_score_and_its_parts_add_up(
    cases: list[tuple[list[Span], tuple[ScoredSpan, ...], str]],
) -> None:
    sentences = [sentence(TEXT, gold, corpus=corpus) for gold, _, corpus in cases]
    annotates = {"diaries": ["PER", "LOC"]}
    evaluation = evaluate(
        always(*[predicted for _, predicted, _ in cases]), sentences, annotates, labels=LABELS
    )
    expected = [
        (each.score or 0.0, each.span in gold)
        for gold, predicted, corpus in cases
        for each in predicted
        if corpus == "letters" or each.span.label != "ORG"
    ]
    assert_alike(evaluation.calibration, Reliability.of(expected))
    assert_alike(
        sum(evaluation.calibration_by_label.values(), Reliability()), evaluation.calibration
    )
    assert_alike(
        sum(evaluation.calibration_by_corpus.values(), Reliability()), evaluation.calibration
    )
    assert (evaluation.calibration.total.n, evaluation.calibration.total.n_right) == (
        evaluation.scores.micro.predicted,
        evaluation.scores.micro.correct,
    )


def assert_alike(one: Reliability, other: Reliability) -> None:
    """The same counts, and sums that differ by rounding at most."""
    assert [(each.n, each.n_right) for each in one.bins] == [
        (each.n, each.n_right) for each in other.bins
    ]
    assert [each.score_sum for each in one.bins] == pytest.approx(
        [each.score_sum for each in other.bins]
    )


def test_spans_without_a_score_are_not_in_the_calibration() -> None:
    evaluation = evaluate(always([Span(0, 1, "PER")]), [sentence("Ada came", [Span(0, 1, "PER")])])
    assert evaluation.calibration == Reliability()
    assert "No predicted entity has a score." in as_markdown(evaluation)


# The report.


@given(cases)
@settings(deadline=None, max_examples=30)
def test_the_evaluation_survives_json(cases: list[tuple[list[Span], list[Span], str]]) -> None:
    as_dict = evaluate_cases(cases).as_dict()
    assert json.loads(json.dumps(as_dict, allow_nan=False)) == as_dict


def test_the_report_is_five_files_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    evaluation = evaluate_cases(
        [([Span(2, 4, "PER")], [Span(2, 3, "PER"), Span(5, 8, "ORG")], "letters")]
    )
    folder = tmp_path / "reports" / "dev"
    for _ in range(2):
        write_report(evaluation, folder)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["calibration.png", "confusion.png", "report.html", "report.json", "report.md"]
    intervals = score_intervals_of(evaluation)
    expected = {**evaluation.as_dict(), "intervals": intervals.as_dict()}
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == expected
    assert (folder / "report.md").read_text(encoding="utf-8") == as_markdown(
        evaluation, intervals=intervals
    )
    assert all(
        (folder / name).read_bytes().startswith(PNG)
        for name in ("confusion.png", "calibration.png")
    )


def test_the_report_shows_every_division_and_what_it_says_is_what_was_counted() -> None:
    letters = sentence(TEXT, [Span(2, 4, "PER"), Span(5, 8, "ORG"), Span(11, 13, "LOC")])
    diaries = sentence(TEXT, [Span(2, 4, "PER")], corpus="diaries")
    found = [
        ScoredSpan(Span(2, 3, "ORG"), 0.91),
        ScoredSpan(Span(5, 8, "ORG"), 0.97),
        ScoredSpan(Span(0, 1, "PER"), 0.5),
    ]
    predict = always(found, [ScoredSpan(Span(2, 4, "PER"), 0.88)])
    evaluation = evaluate(predict, [letters, diaries], labels=LABELS, seen={"Ada Ngo"})
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in as_markdown(evaluation).splitlines()
    ]
    assert ["`letters`", "33.33%", "33.33%", "33.33%", "3", "3", "1"] in rows
    assert ["`diaries`", "100.00%", "", ""] in rows  # PER, and neither ORG nor LOC
    assert ["seen", "100.00%", "50.00%", "66.67%", "2", "1", "1"] in rows
    assert ["2", "100.00%", "33.33%", "50.00%", "3", "1", "1"] in rows
    counted = {row[0]: row[1:6] for row in rows if len(row) == 7 and row[0] in set(MistakeKind)}
    assert counted["wrong borders and label"] == ["1", "75.00%", "75.00%", "75.00%", "+25.00%"]
    assert counted["missed"] == ["1", "60.00%", "75.00%", "66.67%", "+16.67%"]
    assert counted["spurious"] == ["1", "66.67%", "50.00%", "57.14%", "+7.14%"]
    assert counted["correct"][0] == "2"
    assert ["0.9 to 1.0", "2", "94.00%", "50.00%", "+44.00%"] in rows
    assert ["0.8 to 0.9", "1", "88.00%", "100.00%", "-12.00%"] in rows
    assert ["0.0 to 0.1", "0", "", "", ""] in rows
    assert ["`diaries`", "1", "88.00%", "100.00%", "-12.00%", "12.00%"] in rows
    assert f"Expected calibration error **{evaluation.calibration.error:.2%}**" in as_markdown(
        evaluation
    )


def test_a_mistake_is_underlined_in_its_sentence() -> None:
    gold, found = [Span(2, 4, "PER")], [ScoredSpan(Span(2, 3, "ORG"), 0.876)]
    report = as_markdown(evaluate(always(found), [sentence("We met Ada Ngo today", gold, line=12)]))
    assert (
        "\n".join(
            [
                "`letters/dev.conll:12`",
                "",
                "    We met Ada Ngo today",
                "           ^^^^^^^ annotated PER",
                "           ^^^ predicted ORG, 0.88",
            ]
        )
        in report
    )


@pytest.mark.parametrize(
    "before", ["", "中文 ", "e\u0301te\u0301 🦄 ", "a\tb\u2028c\r\n", "x " * 200]
)
def test_the_underlining_stays_under_its_words_whatever_stands_before(before: str) -> None:
    text = before + "Ngo spoke" + " and so on" * 50
    n_before = len(before.split())
    report = as_markdown(evaluate(always([Span(n_before, n_before + 1, "PER")]), [sentence(text)]))
    lines = report.split("\n")
    under = next(i for i, line in enumerate(lines) if "^^^ predicted PER" in line)
    shown = lines[under - 1]
    assert cell_len(shown[: shown.index("Ngo")]) == lines[under].index("^")
    assert len(shown) < 160


def test_every_row_of_a_table_has_the_same_number_of_cells_whatever_the_labels_are() -> None:
    odd = ["a|b", "`", "人名", "B*_#"]
    gold = [Span(i, i + 1, label) for i, label in enumerate(odd)]
    found = [Span(i, i + 1, "PER") for i in range(len(odd))]
    report = as_markdown(evaluate(always(found), [sentence(TEXT, gold)]))
    tables = re.findall(r"(?:^\|.*\|\n)+", report, flags=re.MULTILINE)
    assert len(tables) >= 4
    for table in tables:
        rows = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
        assert len({cell_len(row) for row in rows}) == 1
