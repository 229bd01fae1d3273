import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from model.spans import Span
from training.align import Sentence
from training.evaluate import Evaluation, Predict, ScoredSpan, evaluate, surfaces
from training.mistakes import Confusion, Kind, pair_spans
from training.report import as_markdown, draw_confusion, write_report
from training.scores import Counts

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
    )


def always(*predictions: Sequence[Span | ScoredSpan]) -> Predict:
    """Make a tagger that gives these, whatever it is asked."""
    return lambda _: list(predictions)


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
any_spans = st.lists(spans, max_size=8, unique=True)
flat_spans = any_spans.map(flat)
TEXT = "We met Ada Ngo of Blue Heron Press in the port of Old Lisse"
cases = st.lists(st.tuples(flat_spans, flat_spans, st.sampled_from(["letters", "diaries"])), max_size=5)


def evaluate_cases(cases: list[tuple[list[Span], list[Span], str]], seen: frozenset[str] | None = None) -> Evaluation:
    sentences = [sentence(TEXT, gold, corpus=corpus) for gold, _, corpus in cases]
    return evaluate(always(*[predicted for _, predicted, _ in cases]), sentences, seen=seen)


# Pairs.


@given(any_spans, any_spans)
def test_every_span_is_in_exactly_one_pair(gold: list[Span], predicted: list[Span]) -> None:
    pairs = pair_spans(gold, predicted)
    assert sorted(pair.gold for pair in pairs if pair.gold) == sorted(gold)
    assert sorted(pair.predicted for pair in pairs if pair.predicted) == sorted(predicted)
    assert all(pair.gold or pair.predicted for pair in pairs)


@given(any_spans, any_spans)
def test_paired_spans_overlap_and_none_that_overlap_are_both_left_alone(
    gold: list[Span], predicted: list[Span]
) -> None:
    def overlap(one: Span, other: Span) -> bool:
        return bool(set(range(one.start, one.end)) & set(range(other.start, other.end)))

    pairs = pair_spans(gold, predicted)
    missed = [pair.gold for pair in pairs if pair.gold and not pair.predicted]
    spurious = [pair.predicted for pair in pairs if pair.predicted and not pair.gold]
    assert all(overlap(pair.gold, pair.predicted) for pair in pairs if pair.gold and pair.predicted)
    assert not any(overlap(one, other) for one in missed for other in spurious)


@given(any_spans, any_spans)
def test_the_correct_pairs_are_the_spans_in_both(gold: list[Span], predicted: list[Span]) -> None:
    correct = [pair.gold for pair in pair_spans(gold, predicted) if pair.kind is Kind.CORRECT]
    assert sorted(span for span in correct if span) == sorted(set(gold) & set(predicted))


@pytest.mark.parametrize(
    ("gold", "predicted", "kinds"),
    [
        ([Span(0, 2, "PER")], [Span(0, 2, "PER")], [Kind.CORRECT]),
        ([Span(0, 2, "PER")], [Span(0, 2, "ORG")], [Kind.LABEL]),
        ([Span(0, 2, "PER")], [Span(0, 1, "PER")], [Kind.BORDERS]),
        ([Span(0, 2, "PER")], [Span(1, 3, "ORG")], [Kind.BORDERS]),
        ([Span(0, 2, "PER")], [Span(2, 3, "PER")], [Kind.MISSED, Kind.SPURIOUS]),
        # one gold span cut in two: the longer piece stands for it, the other is spurious
        ([Span(0, 3, "PER")], [Span(0, 1, "PER"), Span(1, 3, "PER")], [Kind.BORDERS, Kind.SPURIOUS]),
        # equal borders win over a greater overlap
        ([Span(0, 1, "PER")], [Span(0, 1, "ORG"), Span(0, 3, "PER")], [Kind.LABEL, Kind.SPURIOUS]),
        ([], [], []),
    ],
)
def test_a_pair_is_of_the_kind_of_its_difference(gold: list[Span], predicted: list[Span], kinds: list[Kind]) -> None:
    assert [pair.kind for pair in pair_spans(gold, predicted)] == kinds


@given(any_spans, any_spans)
def test_the_confusion_counts_every_gold_and_every_predicted_span_once(gold: list[Span], predicted: list[Span]) -> None:
    confusion = Confusion()
    for pair in pair_spans(gold, predicted):
        confusion.add(pair)
    cells = confusion.equal_borders + confusion.wrong_borders
    for label in LABELS:
        assert sum(n for (one, _), n in cells.items() if one == label) == sum(span.label == label for span in gold)
        assert sum(n for (_, one), n in cells.items() if one == label) == sum(span.label == label for span in predicted)


# Evaluation.


@given(cases)
@settings(deadline=None)
def test_every_division_of_the_spans_adds_up_to_the_whole(cases: list[tuple[list[Span], list[Span], str]]) -> None:
    evaluation = evaluate_cases(cases, seen=frozenset({"Ada Ngo", "Lisse"}))
    micro = evaluation.scores.micro
    assert sum((scores.micro for scores in evaluation.by_corpus.values()), Counts()) == micro
    assert sum(evaluation.by_length.values(), Counts()) == micro
    assert sum(evaluation.by_surface.values(), Counts()) == micro
    kinds = evaluation.n_by_kind
    assert kinds[Kind.CORRECT] == micro.correct
    paired = kinds[Kind.CORRECT] + kinds[Kind.LABEL] + kinds[Kind.BORDERS]
    assert paired + kinds[Kind.MISSED] == micro.gold
    assert paired + kinds[Kind.SPURIOUS] == micro.predicted


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
def test_a_tagger_that_gives_the_gold_is_perfect(cases: list[tuple[list[Span], list[Span], str]]) -> None:
    evaluation = evaluate_cases([(gold, gold, corpus) for gold, _, corpus in cases])
    assert evaluation.scores.micro.correct == evaluation.scores.micro.gold == evaluation.scores.micro.predicted
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
    evaluation = evaluate(always([Span(0, 1, "PER"), Span(2, 3, "PER"), Span(1, 3, "PER")]), [known])
    assert evaluation.scores.micro == Counts(1, 1, 1)
    assert evaluation.n_ignored == 2


@pytest.mark.parametrize("predicted", [[], [Span(0, 1, "LOC")], [Span(0, 4, "LOC")]])
def test_gold_that_no_words_express_counts_as_missed_whatever_is_predicted(predicted: list[Span]) -> None:
    # The misaligned span is in characters: (0, 4) there is not the four words (0, 4).
    broken = sentence("Oslo-based firms pay well", misaligned=[Span(0, 4, "LOC")], unknown=[(0, 1)])
    evaluation = evaluate(always(predicted), [broken])
    assert evaluation.scores.micro == Counts(gold=1, predicted=len(predicted), correct=0)
    assert evaluation.n_misaligned == 1
    assert evaluation.n_ignored == 0
    assert Span(0, 4, "LOC") in [one.gold for one in evaluation.mistakes if one.kind is Kind.MISSED]


def test_lengths_are_counted_in_words_of_the_gold_and_of_the_prediction() -> None:
    evaluation = evaluate(always([Span(0, 1, "PER"), Span(3, 8, "ORG")]), [sentence(TEXT, [Span(0, 2, "PER")])])
    assert evaluation.by_length == {"1": Counts(0, 1, 0), "2": Counts(1, 0, 0), "3": Counts(), "4+": Counts(0, 1, 0)}


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
    assert evaluation.n_by_kind[Kind.SPURIOUS] == 5


def test_without_scores_mistakes_come_in_the_order_of_the_sentences() -> None:
    sentences = [sentence("Ada came", [Span(0, 1, "PER")], line=i) for i in range(4)]
    evaluation = evaluate(always([], [], [], []), sentences, worst=3)
    assert [mistake.line for mistake in evaluation.mistakes] == [0, 1, 2]


def test_a_mistake_says_where_it_is_in_characters_of_the_text() -> None:
    text = "Yes ,  Ada   Ngo came"
    mistake = evaluate(always([Span(2, 3, "ORG")]), [sentence(text, [Span(2, 4, "PER")], line=7)]).mistakes[0]
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


# The report.


@given(cases)
@settings(deadline=None, max_examples=30)
def test_the_evaluation_survives_json(cases: list[tuple[list[Span], list[Span], str]]) -> None:
    as_dict = evaluate_cases(cases).as_dict()
    assert json.loads(json.dumps(as_dict, allow_nan=False)) == as_dict


def test_the_report_is_three_files_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    evaluation = evaluate_cases([([Span(2, 4, "PER")], [Span(2, 3, "PER"), Span(5, 8, "ORG")], "letters")])
    folder = tmp_path / "reports" / "dev"
    for _ in range(2):
        write_report(evaluation, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["confusion.png", "report.json", "report.md"]
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == evaluation.as_dict()
    assert (folder / "report.md").read_text(encoding="utf-8") == as_markdown(evaluation)
    assert (folder / "confusion.png").read_bytes().startswith(PNG)


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


@pytest.mark.parametrize("before", ["", "中文 ", "e\u0301te\u0301 🦄 ", "a\tb\u2028c\r\n", "x " * 200])
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


@pytest.mark.parametrize("labels", [[], ["PER"], LABELS, [f"LABEL-{i}" for i in range(20)], ["人名", "地名"]])
def test_the_confusion_is_drawn_for_any_number_of_labels_without_a_warning(tmp_path: Path, labels: list[str]) -> None:
    confusion = Confusion()
    for label in labels:
        for pair in pair_spans([Span(0, 2, label), Span(4, 5, label)], [Span(0, 1, "PER"), Span(4, 5, label)]):
            confusion.add(pair)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(confusion, labels, tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(PNG)
