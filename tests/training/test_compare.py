"""Two taggers on the same sentences: what is counted and listed, and the verdict."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.tags.spans import Span
from teddy.training.data.align import Sentence
from teddy.training.evaluation.comparing import (
    Speeds,
    TaggerComparison,
    compare,
    measure_speeds,
)
from teddy.training.evaluation.evaluate import Answers, Predict, ScoredSpan, evaluate
from teddy.training.evaluation.model_comparison import ComparedModel, ModelComparison
from teddy.training.export.publish import recipe_of, write_model
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.report.html import comparison_as_html
from tests.training.html_page import assert_is_whole_and_alone
from tests.training.test_evaluate import LABELS, TEXT, always, flat_spans, sentence

ANNOTATES = {"letters": frozenset(LABELS)}


class Shell(Protocol):
    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]: ...


Found = Sequence[Sequence[Span | ScoredSpan]]


def compared(
    sentences: Sequence[Sentence], first: Found, second: Found, most: int = 100
) -> TaggerComparison:
    taggers: tuple[Predict, Predict] = always(*first), always(*second)
    return compare(*taggers, sentences, ANNOTATES, LABELS, n_draws=100, most=most)


cases = st.lists(st.tuples(flat_spans, flat_spans, flat_spans), max_size=5)


@given(cases)
@settings(max_examples=25)
def test_every_annotated_and_every_right_entity_is_counted_once(
    cases: list[tuple[list[Span], list[Span], list[Span]]],
) -> None:
    sentences = [sentence(TEXT, gold) for gold, _, _ in cases]
    first, second = [a for _, a, _ in cases], [b for _, _, b in cases]
    found = compared(sentences, first, second)
    for answers, side, alone in ((first, "first", "only_first"), (second, "second", "only_second")):
        scores = evaluate(always(*answers), sentences, labels=LABELS).scores
        for label, counts in scores.by_label.items():
            tally = found.tallies[label]
            assert getattr(found.by_label[label], side) == counts
            assert tally.both + tally.only_first + tally.only_second + tally.neither == counts.gold
            assert tally.both + getattr(tally, alone) == counts.correct
        assert getattr(found.overall, side) == scores.micro


@given(cases)
@settings(max_examples=25)
def test_turned_round_everything_is_turned_round(
    cases: list[tuple[list[Span], list[Span], list[Span]]],
) -> None:
    sentences = [sentence(TEXT, gold) for gold, _, _ in cases]
    first, second = [a for _, a, _ in cases], [b for _, _, b in cases]
    found, turned = compared(sentences, first, second), compared(sentences, second, first)
    assert found.overall.f1 == -turned.overall.f1
    assert found.overall.p_randomisation == pytest.approx(turned.overall.p_randomisation)
    assert (found.n_better, found.n_worse) == (turned.n_worse, turned.n_better)
    assert [each.gold for each in found.better] == [each.gold for each in turned.worse]


@given(cases)
@settings(max_examples=25)
def test_a_tagger_against_itself_has_not_changed(
    cases: list[tuple[list[Span], list[Span], list[Span]]],
) -> None:
    sentences = [sentence(TEXT, gold) for gold, _, _ in cases]
    found = compared(sentences, [a for _, a, _ in cases], [a for _, a, _ in cases])
    assert (found.overall.f1, found.overall.p_bootstrap, found.overall.p_randomisation) == (0, 1, 1)
    assert (found.better, found.worse, found.verdict) == ((), (), "Both give the same entities.")


def test_changes_are_listed_with_what_each_said_the_surest_first() -> None:
    gold = [Span(2, 4, "PER"), Span(11, 13, "LOC")]
    first = [ScoredSpan(Span(2, 3, "PER"), 0.5), ScoredSpan(Span(11, 13, "LOC"), 0.75)]
    second = [
        ScoredSpan(Span(2, 4, "PER"), 0.25),
        ScoredSpan(Span(11, 13, "ORG"), 0.5),
        ScoredSpan(Span(5, 6, "ORG"), 1),
    ]
    found = compared([sentence(TEXT, gold)], [first], [second])
    assert [(each.gold, each.second_is_right) for each in (*found.better, *found.worse)] == [
        (Span(7, 14, "PER"), True),
        (Span(47, 53, "LOC"), False),
        (None, False),
    ]
    (better,) = found.better
    assert better.first is not None
    assert better.second is not None
    assert TEXT[better.first.span.start : better.first.span.end] == "Ada"
    assert (better.second.span, better.second.score) == (Span(7, 14, "PER"), 0.25)
    assert [each.sureness for each in found.worse] == [1.25, 1]
    assert (found.tallies["PER"].only_second, found.tallies["LOC"].only_first) == (1, 1)
    assert found.tallies["ORG"].invented_by_second == 1


def test_what_the_data_do_not_annotate_or_say_does_not_count() -> None:
    unknown = sentence(TEXT, [Span(2, 4, "PER")], unknown=[(5, 8)])
    first: Found = [[Span(2, 4, "PER")]]
    second: Found = [[Span(2, 4, "PER"), Span(5, 8, "ORG"), Span(11, 13, "GPE")]]
    found = compared([unknown], first, second)
    assert (found.overall.f1, found.n_better, found.n_worse) == (0, 0, 0)


def test_only_as_many_changes_are_kept_as_were_asked_for() -> None:
    sentences = [sentence(TEXT, [Span(2, 4, "PER")])] * 7
    found = compared(sentences, [[]] * 7, [[Span(2, 4, "PER")]] * 7, most=3)
    assert (len(found.better), found.n_better, found.n_worse) == (3, 7, 0)


def test_a_better_tagger_is_called_better_and_a_luckier_one_is_not() -> None:
    draw = random.Random(1)  # noqa: S311
    gold = Span(2, 4, "PER")
    sentences = [sentence(TEXT, [gold])] * 300
    taggers = [
        [[gold] if draw.random() < recall else [] for _ in sentences] for recall in (0.6, 0.8, 0.8)
    ]
    assert compared(sentences, taggers[0], taggers[1]).verdict.startswith("B is better: F1 +")
    assert compared(sentences, taggers[1], taggers[0]).verdict.startswith("B is worse: F1 -")
    assert compared(sentences, taggers[1], taggers[2]).verdict.startswith("No difference is shown")


def test_speed_is_measured_in_turns() -> None:
    asked: list[tuple[str, int]] = []

    def tagger(name: str) -> Predict:
        def predict(sentences: Sequence[Sequence[str]]) -> Answers:
            asked.append((name, len(sentences)))
            return [[] for _ in sentences]

        return predict

    found = measure_speeds(tagger("A"), tagger("B"), [sentence(TEXT)] * 9, turns=2, most_words=28)
    assert asked == [("A", 2), ("B", 2)] * 2
    assert found.first > 0
    assert found.second > 0
    ticks = iter([0.0, 2.0, 2.0, 3.0])  # of another clock: the first two seconds, the second one
    text = [sentence(TEXT)]
    n_words = len(text[0].words)
    found = measure_speeds(
        tagger("A"), tagger("B"), text, turns=1, most_words=28, clock=lambda: next(ticks)
    )
    assert (found.first, found.second) == (n_words / 2, n_words)


def test_a_page_of_a_comparison_takes_no_text_for_its_own() -> None:
    wicked = "<script>alert('Ada')</script> & <b>Ngo</b>"
    gold = Span(0, 1, "PER")
    comparison = compared([sentence(wicked, [gold])] * 2, [[gold], []], [[], [Span(0, 2, "PER")]])
    model = ComparedModel(
        path=Path(wicked), name=wicked, version="1", precision="fp32", labels=(wicked, *LABELS)
    )
    speeds = Speeds(first=1.0, second=2000.0, turns=3)
    models = ModelComparison(
        first=model, second=model, labels=tuple(LABELS), comparison=comparison, speeds=speeds
    )
    page = assert_is_whole_and_alone(comparison_as_html(models, wicked))
    assert page.text.count(wicked) >= 7
    assert "2,000" in page.text
    assert ("gold first", "<script>alert('Ada')</script>") in page.marks


# The command.


def test_a_model_against_itself_differs_by_nothing(
    shell: Shell, tiny_model: Path, tiny_data: Path
) -> None:
    code, output, told = shell("compare", "--json", tiny_model, tiny_model, tiny_data / "dev.conll")
    found = json.loads(output)
    assert (code, told) == (0, "")
    assert (found["overall"]["difference"], found["overall"]["p_bootstrap"], found["n_better"]) == (
        0,
        1,
        0,
    )
    assert found["verdict"] == "Both give the same entities."


@pytest.fixture(scope="module")
def other_model(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with halved weights, as if trained for labels of which it shares one."""
    checkpoint = load_checkpoint(tiny_run / "best.checkpoint")
    recipe = recipe_of(checkpoint).model_copy(update={"labels": ("PER", "VENUE")})
    weights = {
        name: value * 0.5 if "recurrent" in name else value
        for name, value in checkpoint.weights.items()
    }
    path = tmp_path_factory.mktemp("other") / "other.teddy"
    write_model(
        replace(checkpoint, labels=("PER", "VENUE"), recipe=recipe.dump_toml(), weights=weights),
        path,
    )
    return path


def test_models_are_compared_on_the_labels_that_both_have(
    shell: Shell, tiny_model: Path, other_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    command = ("compare", tiny_model, other_model, tiny_data / "dev.conll", "--draws", "200")
    code, output, _ = shell(*command, "--speed", "--report", tmp_path)
    assert code == 0
    assert "Not counted, of the labels of A: LOC." in output
    assert "Not counted, of the labels of B: VENUE." in output
    assert "Words per second: A " in output
    found = json.loads((tmp_path / "compare.json").read_text())
    assert (found["labels"], [*found["by_label"]]) == (["PER"], ["PER"])
    page = assert_is_whole_and_alone((tmp_path / "compare.html").read_text())
    assert found["verdict"] in page.text
    del found["words_per_second"]  # which alone is another every time
    assert json.loads(shell(*command, "--json")[1]) == found


def test_models_that_share_no_label_are_not_compared(
    shell: Shell, tiny_model: Path, other_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "dev.conll").write_text("Oslo B-LOC\nsleeps O\n")
    refused = shell(
        "compare", tiny_model, other_model, tmp_path / "dev.conll", "--annotates", "LOC"
    )
    assert (refused[0], refused[2].count("\n")) == (2, 1)
    assert "annotate none of the labels that both models have: PER" in refused[2]
