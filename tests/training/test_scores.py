import json
import os
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.tags.spans import Scheme, Span, read_tags, write_tags
from teddy.training.evaluation.scores import (
    ConllevalScores,
    Counts,
    SpanScores,
    conlleval_scores,
    read_chunks,
)

LABELS = ["PER", "ORG", "creative-work"]

spans = st.builds(
    lambda start, length, label: Span(start, start + length, label),
    st.integers(0, 5),
    st.integers(1, 3),
    st.sampled_from(LABELS),
)
span_lists = st.lists(spans, max_size=6, unique=True)
sentences = st.lists(st.tuples(span_lists, span_lists), max_size=5)

tags = st.just("O") | st.builds("{}-{}".format, st.sampled_from("BIES"), st.sampled_from(LABELS))
tagged = st.lists(st.lists(st.tuples(tags, tags), min_size=1, max_size=12), min_size=1, max_size=5)


def score(pairs: list[tuple[list[Span], list[Span]]]) -> SpanScores:
    scores = SpanScores()
    for gold, predicted in pairs:
        scores.add(gold, predicted)
    return scores


def unzip(pairs: list[list[tuple[str, str]]]) -> tuple[list[list[str]], list[list[str]]]:
    return [[gold for gold, _ in one] for one in pairs], [
        [predicted for _, predicted in one] for one in pairs
    ]


# Strict scores.


@given(sentences)
def test_strict_counts_equal_a_count_span_by_span(
    pairs: list[tuple[list[Span], list[Span]]],
) -> None:
    scores = score(pairs)
    for label in LABELS:
        gold = [
            (i, span) for i, (spans, _) in enumerate(pairs) for span in spans if span.label == label
        ]
        predicted = [
            (i, span) for i, (_, spans) in enumerate(pairs) for span in spans if span.label == label
        ]
        correct = [one for one in predicted if one in gold]
        expected = Counts(len(gold), len(predicted), len(correct))
        assert scores.by_label.get(label, Counts()) == expected


@given(sentences, st.integers(0, 5))
def test_scores_add_up_over_any_division_of_the_sentences(
    pairs: list[tuple[list[Span], list[Span]]], cut: int
) -> None:
    assert score(pairs[:cut]) + score(pairs[cut:]) == score(pairs)


@given(sentences)
def test_swapping_gold_and_prediction_swaps_precision_and_recall(
    pairs: list[tuple[list[Span], list[Span]]],
) -> None:
    there = score(pairs).micro
    back = score([(predicted, gold) for gold, predicted in pairs]).micro
    assert (there.precision, there.recall, there.f1) == (back.recall, back.precision, back.f1)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_f1_is_the_harmonic_mean_and_ratios_without_a_denominator_are_zero(
    correct: int, missed: int, spurious: int
) -> None:
    counts = Counts(gold=correct + missed, predicted=correct + spurious, correct=correct)
    if correct:
        assert counts.f1 == pytest.approx(2 / (1 / counts.precision + 1 / counts.recall))
    else:
        assert (counts.precision, counts.recall, counts.f1) == (0.0, 0.0, 0.0)


def test_a_span_given_twice_counts_once() -> None:
    span = Span(0, 2, "PER")
    assert score([([span, span], [span, span, span])]).micro == Counts(1, 1, 1)


def test_macro_is_the_mean_over_labels_that_occur_and_zero_when_none_does() -> None:
    scores = SpanScores(["PER", "ORG", "LOC"])
    assert scores.macro.f1 == 0.0
    scores.add([Span(0, 1, "PER")], [Span(0, 1, "PER"), Span(3, 4, "ORG")])
    assert scores.macro.f1 == 0.5


def test_labels_keep_the_order_given_and_show_without_a_span() -> None:
    scores = SpanScores(["PER", "ORG"])
    scores.add([Span(0, 1, "LOC")], [])
    assert list(scores.by_label) == ["PER", "ORG", "LOC"]


@given(sentences)
def test_scores_survive_json(pairs: list[tuple[list[Span], list[Span]]]) -> None:
    as_dict = score(pairs).as_dict()
    assert json.loads(json.dumps(as_dict, allow_nan=False)) == as_dict


# conlleval's scores.


def seqeval_report(
    gold: list[list[str]], predicted: list[list[str]]
) -> dict[str, dict[str, float]]:
    # Here, because it brings scikit-learn: a second in each process that collects tests.
    from seqeval.metrics import classification_report

    with warnings.catch_warnings():
        # seqeval and numpy warn where a ratio has no denominator; all three of us then say 0.
        warnings.simplefilter("ignore")
        report: dict[str, dict[str, float]] = classification_report(
            gold, predicted, output_dict=True, zero_division=0
        )
    return report


@given(tagged)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_scores_agree_with_seqeval_on_any_tags_however_ill_formed(
    pairs: list[list[tuple[str, str]]],
) -> None:
    from seqeval.metrics import accuracy_score

    gold, predicted = unzip(pairs)
    ours = conlleval_scores(gold, predicted)
    assert ours.accuracy == pytest.approx(accuracy_score(gold, predicted))
    if not ours.spans.by_label:
        return  # seqeval cannot report on nothing
    report = seqeval_report(gold, predicted)
    rows = ours.spans.by_label | {"micro avg": ours.spans.micro}
    for name, counts in rows.items():
        theirs = report[name]
        assert (counts.precision, counts.recall, counts.f1, counts.gold) == pytest.approx(
            (theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"])
        ), name
    assert ours.spans.macro.f1 == pytest.approx(report["macro avg"]["f1-score"])
    assert set(report) - set(rows) == {"macro avg", "weighted avg"}


@given(span_lists)
def test_chunks_of_well_formed_tags_are_the_spans_whatever_the_scheme(spans: list[Span]) -> None:
    flat: list[Span] = []
    for span in sorted(spans):
        if not flat or span.start >= flat[-1].end:
            flat.append(span)
    for scheme in [Scheme.IOB1, Scheme.BIO, Scheme.BIOES]:
        assert read_chunks(write_tags(flat, 8, scheme)) == flat


@pytest.mark.parametrize(
    ("tags", "chunks"),
    [
        # IOB1, IOB2, IOE1, IOE2, IOBES
        ("I-A I-A B-A O", [(0, 2, "A"), (2, 3, "A")]),
        ("B-A I-A B-A O", [(0, 2, "A"), (2, 3, "A")]),
        ("I-A E-A I-A O", [(0, 2, "A"), (2, 3, "A")]),
        ("I-A E-A E-A O", [(0, 2, "A"), (2, 3, "A")]),
        ("B-A E-A S-A O", [(0, 2, "A"), (2, 3, "A")]),
        # old brackets: chunks of one word
        ("[-A ]-A [-A O", [(0, 1, "A"), (1, 2, "A"), (2, 3, "A")]),
        # ill-formed: repaired, no word of a chunk is lost
        ("O I-A I-B E-B", [(1, 2, "A"), (2, 4, "B")]),
        ("E-A E-A B-A S-A", [(0, 1, "A"), (1, 2, "A"), (2, 3, "A"), (3, 4, "A")]),
        # no label, and a label with hyphens
        ("B I O", [(0, 2, "_")]),
        ("B-a-b I-a-b I-a", [(0, 2, "a-b"), (2, 3, "a")]),
    ],
)
def test_chunks_start_and_end_as_conlleval_has_it(
    tags: str, chunks: list[tuple[int, int, str]]
) -> None:
    assert read_chunks(tags.split()) == [Span(*chunk) for chunk in chunks]


@given(tagged, st.integers(0, 5))
def test_conlleval_scores_add_up_over_any_division_of_the_sentences(
    pairs: list[list[tuple[str, str]]], cut: int
) -> None:
    gold, predicted = unzip(pairs)
    parts = conlleval_scores(gold[:cut], predicted[:cut]) + conlleval_scores(
        gold[cut:], predicted[cut:]
    )
    assert parts == conlleval_scores(gold, predicted)


@given(tagged)
def test_on_the_same_spans_strict_and_conlleval_scores_are_equal(
    pairs: list[list[tuple[str, str]]],
) -> None:
    gold, predicted = unzip(pairs)
    read = [
        (read_tags(g, Scheme.BIOES), read_tags(p, Scheme.BIOES))
        for g, p in zip(gold, predicted, strict=True)
    ]
    assert conlleval_scores(gold, predicted).spans == score(read)


@pytest.mark.parametrize("tag", ["", "B-", "-PER", "X-PER", "BI-PER", "PER", "O-PER"])
def test_a_tag_that_conlleval_does_not_know_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="not a tag"):
        conlleval_scores([["O", tag]], [["O", "O"]])


def test_sentences_that_do_not_match_in_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 gold sentences, but 0"):
        conlleval_scores([["O"]], [])
    with pytest.raises(ValueError, match="1 gold tags, but 2"):
        conlleval_scores([["O"]], [["O", "O"]])


def report(scores: ConllevalScores) -> str:
    """Write scores as the script does, character for character."""
    micro = scores.spans.micro
    lines = [
        f"processed {scores.words} tokens with {micro.gold} phrases; "
        f"found: {micro.predicted} phrases; correct: {micro.correct}.",
        f"accuracy: {scores.accuracy * 100:6.2f}%; precision: {100 * micro.precision:6.2f}%; "
        f"recall: {100 * micro.recall:6.2f}%; FB1: {100 * micro.f1:6.2f}",
    ]
    for label, counts in sorted(scores.spans.by_label.items()):
        lines.append(
            f"{label:>17}: precision: {100 * counts.precision:6.2f}%; "
            f"recall: {100 * counts.recall:6.2f}%; FB1: {100 * counts.f1:6.2f}  {counts.predicted}"
        )
    return "\n".join(lines)


def read_oracle(path: Path) -> ConllevalScores:
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    rows = [[line.split() for line in block.splitlines() if line.strip()] for block in blocks]
    return conlleval_scores(
        [[row[-2] for row in one] for one in rows], [[row[-1] for row in one] for one in rows]
    )


@pytest.mark.skipif(
    "TEDDY_SCORING_ORACLE" not in os.environ, reason="TEDDY_SCORING_ORACLE names no folder"
)
def test_the_report_equals_that_of_the_script_on_its_own_sample() -> None:
    folder = Path(os.environ["TEDDY_SCORING_ORACLE"])
    expected = (folder / "conlleval-result.txt").read_text(encoding="utf-8")
    assert report(read_oracle(folder / "conlleval-output.txt")) == expected.rstrip("\n")
