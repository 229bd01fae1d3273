"""Rules: other labels and borders, exact in their offsets, and counted as a plain loop counts."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.errors import UnknownLabelError
from teddy.model.file.bundle import AppliedRule
from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.check.checking import check_recipe
from teddy.training.check.finding_kinds import FindingKind
from teddy.training.data.align import align
from teddy.training.data.corpora import load_corpora
from teddy.training.data.readers.rows import Example
from teddy.training.data.rules import Rules
from teddy.training.recipe.corpus_config import CorpusConfig, RuleConfig
from teddy.training.recipe.recipe import Recipe, load_recipe

ROOT = Path(__file__).parents[2]
LABELS = ("PER", "LOC", "MISC")
TITLES = {"label": "PER", "trim_start": r"(?:(?:Mr|Ms|Dr|Pope)\.? )+"}
WORDS = ("Mr", "Dr.", "the", "Ada", "Finch", "'s", "Oslo", "Danish", "@", "of", "Mr.")


def make_rules(*own: dict[str, Any], shared: tuple[dict[str, Any], ...] = ()) -> Rules:
    own_rules = tuple(RuleConfig(**rule) for rule in own)
    config = CorpusConfig(name="made-up", licence="CC0", train=("a",), rules=own_rules)
    return Rules(config, LABELS, tuple(RuleConfig(**rule) for rule in shared))


def make_example(text: str, *spans: tuple[str, str]) -> Example:
    found = [Span(text.index(name), text.index(name) + len(name), label) for name, label in spans]
    return Example(
        text=text,
        spans=tuple(found),
        span_lines=tuple(range(1, len(found) + 1)),
        path="p",
        line=1,
        is_sentence=True,
        document=0,
    )


def surfaces(example: Example) -> list[tuple[str, str]]:
    return [(example.text[span.start : span.end], span.label) for span in example.spans]


def test_trims_leave_out_what_they_match_and_the_space_beside_it() -> None:
    rules = make_rules(TITLES, {"label": "PER|LOC", "trim_end": "['\u2019]s"})
    text = "A book by Ms. Dr. Okafor 's, Pope Francis, Oslo's, Mr. and Ada"
    given = [("Ms. Dr. Okafor 's", "PER"), ("Pope Francis", "PER"), ("Oslo's", "LOC")]
    found, applied = rules.apply(make_example(text, *given, ("Mr.", "PER"), ("Ada", "PER")))
    kept = [("Okafor", "PER"), ("Francis", "PER"), ("Oslo", "LOC"), ("Mr.", "PER"), ("Ada", "PER")]
    assert surfaces(found) == kept
    assert found.span_lines == (1, 2, 3, 4, 5)
    assert applied == {0: 2, 1: 2}


def test_a_rule_that_would_leave_nothing_leaves_the_span() -> None:
    rules = make_rules({"label": "PER", "trim_start": "[A-Z]", "trim_end": "d.*"})
    for name in ("A", "da", "Ada", "Ad"):
        found, _ = rules.apply(make_example(f"{name} .", (name, "PER")))
        assert surfaces(found) == [(name, "PER")]


def test_rules_of_the_recipe_see_what_rules_and_map_of_the_corpus_have_made() -> None:
    rules = make_rules(
        {"label": "nation", "text": "Danish", "to": "LOC"},
        shared=({"label": "LOC", "text": ".*ish", "to": "MISC"}, {"label": "LOC", "to": "?"}),
    )
    example = make_example("Danish Oslo", ("Danish", "nation"), ("Oslo", "LOC"))
    found, applied = rules.apply(example)
    assert surfaces(found) == [("Danish", "MISC"), ("Oslo", "?")]
    assert applied == {0: 1, 1: 1, 2: 1}


def test_what_a_reader_knows_nothing_of_stays_as_it_is() -> None:
    rules = make_rules(
        {"label": "O", "text": "Ada|Oslo", "to": "PER"}, shared=({"label": "?", "to": "LOC"},)
    )
    found, applied = rules.apply(make_example("Ada left Oslo", ("Ada", "?")))
    assert surfaces(found) == [("Ada", "?"), ("Oslo", "PER")]
    assert found.span_lines == (1, 1)
    assert applied == {0: 1}
    refused = make_example("Ada Oslo", ("Ada", "?"), ("Oslo", "GPE"))
    with pytest.raises(UnknownLabelError) as caught:
        rules.apply(refused)
    error = rules.with_other_labels(caught.value, [refused])
    assert "'GPE' is neither" in error.reason
    assert "'?'" not in error.reason


def test_rules_for_o_mark_words_in_no_span_and_no_others() -> None:
    rules = make_rules(
        {"label": "LOC", "text": "Danish", "to": "O"},
        {"label": "O", "text": r"@\w+", "to": "?"},
        shared=({"label": "O", "text": r"\bDanish\b|ada", "to": "MISC"},),
    )
    example = make_example("Danish @ada Danish Danish Crown", ("Danish Crown", "PER"))
    found, applied = rules.apply(example)
    assert sorted(surfaces(found)) == [
        ("@ada", "?"),
        ("Danish", "MISC"),
        ("Danish", "MISC"),
        ("Danish Crown", "PER"),
    ]
    assert applied == {1: 1, 2: 2}
    (sentence,) = align(found, "made-up", Tokeniser(), lambda _: None)
    assert sentence.unknown == ((1, 2),), "the handle, which is one word"


@st.composite
def examples(draw: st.DrawFn) -> Example:
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12))
    offsets, at = [], 0
    for word in words:
        offsets.append((at, at + len(word)))
        at += len(word) + draw(st.integers(1, 2))
    text = "".join(
        word.ljust(after - start)
        for word, (start, _), (after, _) in zip(
            words, offsets, [*offsets[1:], (at, at)], strict=True
        )
    )
    spans, first = [], 0
    while first < len(words):
        last = draw(st.integers(first, len(words)))
        if last > first:
            label = draw(st.sampled_from(LABELS))
            spans.append(Span(offsets[first][0], offsets[last - 1][1], label))
        first = last + 1
    return Example(
        text=text,
        spans=tuple(spans),
        span_lines=(1,) * len(spans),
        path="p",
        line=1,
        is_sentence=True,
        document=0,
    )


TRIMS = (
    TITLES,
    {"label": "PER|LOC", "trim_end": "'s"},
    {"label": "LOC|MISC", "text": "the .*", "trim_start": "the"},
    {"label": "LOC", "text": "Danish", "to": "MISC"},
    {"label": "PER", "text": "@", "to": "O"},
    {"label": "O", "text": "Danish", "to": "MISC"},
)


@given(examples())
def test_spans_and_counts_are_those_of_a_plain_loop(example: Example) -> None:
    rules = make_rules(*TRIMS[:3], shared=TRIMS[3:])
    found, applied = rules.apply(example)
    expected: list[tuple[int, int, str]] = []
    counts: Counter[int] = Counter()
    for span in example.spans:
        words = [(m.start(), m.end(), m[0]) for m in re.finditer(r"\S+", example.text)]
        words = [word for word in words if span.start <= word[0] and word[1] <= span.end]
        whole, label = words, span.label
        if label == "PER":
            is_next = True  # the pattern goes on behind one space only; more of them end it
            while is_next and len(words) > 1 and words[0][2] in ("Mr", "Dr.", "Mr."):
                is_next = words[1][0] == words[0][1] + 1
                words = words[1:]
            counts[0] += words != whole
        if label in ("PER", "LOC") and len(words) > 1 and words[-1][2] == "'s":
            words = words[:-1]
            counts[1] += 1
        is_the = len(words) > 1 and words[0][2] == "the"
        if label in ("LOC", "MISC") and is_the:
            words = words[1:]
            counts[2] += 1
        surface = example.text[words[0][0] : words[-1][1]]
        if (label, surface) == ("LOC", "Danish"):
            label = "MISC"
            counts[3] += 1
        if (label, surface) == ("PER", "@"):
            counts[4] += 1
        else:
            expected.append((words[0][0], words[-1][1], label))
    for match in re.finditer("Danish", example.text):
        if not any(start < match.end() and match.start() < end for start, end, _ in expected):
            expected.append((*match.span(), "MISC"))
            counts[5] += 1
    assert sorted((each.start, each.end, each.label) for each in found.spans) == sorted(expected)
    assert applied == +counts


def recipe_of(*rules: dict[str, Any], **options: Any) -> Recipe:
    corpora = tuple(
        CorpusConfig(
            name=name, licence="CC0", train=(f"{name}.conll",), holdout=0.5, **(options or {})
        )
        for name in ("one", "two")
    )
    return Recipe(
        name="x", labels=LABELS, corpus=corpora, rules=tuple(RuleConfig(**rule) for rule in rules)
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    persons = ["Mr B-PER\nFinch I-PER\n", "Ada B-PER\n", "Dr B-PER\nQuill I-PER\n", "Bo B-PER\n"]
    for name, sentences in (("one", persons), ("two", persons[1:])):
        path = tmp_path / f"{name}.conll"
        path.write_text("\n".join(sentences), encoding="utf-8")
    return tmp_path


def test_each_rule_is_counted_for_each_corpus_in_train_and_in_dev(data: Path) -> None:
    one, two = load_corpora(recipe_of({**TITLES, "about": "no titles"}), data)
    assert one.rules == (AppliedRule(corpus="one", rule="no titles", n_train=2, n_dev=0),)
    assert two.rules == (AppliedRule(corpus="two", rule="no titles", n_train=0, n_dev=1),)


def test_check_reports_what_rules_changed_and_those_that_changed_nothing(data: Path) -> None:
    recipe = recipe_of(
        {**TITLES, "about": "no titles"},
        {"label": "LOC", "text": "Rom", "to": "MISC"},
        rules=(RuleConfig(label="PER", text="Ada", to="LOC"),),
    )
    report = check_recipe(recipe, data, path="x.toml")
    messages = {
        kind: [finding.message for finding in report.findings if finding.kind is kind]
        for kind in (FindingKind.RULE, FindingKind.UNUSED_RULE)
    }
    assert sorted(messages[FindingKind.RULE]) == [
        "one: PER 'Ada': LOC: 0 in train, 1 in dev",
        "one: no titles: 2 in train, 0 in dev",
        "two: PER 'Ada': LOC: 1 in train, 0 in dev",
        "two: no titles: 0 in train, 1 in dev",
    ]
    assert messages[FindingKind.UNUSED_RULE] == ["LOC 'Rom': MISC"]


def test_the_english_recipe_takes_titles_from_names_and_leaves_those_that_are_names() -> None:
    recipe = load_recipe(ROOT / "training" / "recipes" / "en.toml")
    rules = Rules(recipe.corpus[0], recipe.labels, recipe.rules)
    for given_, kept in {
        "Ms Okafor": "Okafor",
        "Dr . Nora Quill": "Nora Quill",
        "Prime Minister Ada Finch": "Ada Finch",
        "Sheikh Nasser": "Nasser",
        "queen matilda": "matilda",
        "St. Peter": "St. Peter",
        "Duchess of Leeds": "Duchess of Leeds",
        "Dr. Dre": "Dr. Dre",
        "Judge": "Judge",
        "Finch 's": "Finch",
    }.items():
        found, _ = rules.apply(make_example(f"said {given_} .", (given_, "PER")))
        assert surfaces(found) == [(kept, "PER")]
    for name, label, expected in (
        ("the Lantern Band", "ORG", ("Lantern Band", "ORG")),
        ("The Lantern Band", "ORG", ("The Lantern Band", "ORG")),
        ("The Netherlands", "LOC", ("Netherlands", "LOC")),
        ("The Hague", "LOC", ("The Hague", "LOC")),
        ("South Koreans", "LOC", ("South Koreans", "MISC")),
        ("Costa Rican", "PER", ("Costa Rican", "MISC")),
        ("Turkey", "LOC", ("Turkey", "LOC")),
    ):
        found, _ = rules.apply(make_example(f"saw {name} .", (name, label)))
        assert surfaces(found) == [expected]
    found, _ = rules.apply(make_example("a Danish ship, a German-built one, Turkish Delight"))
    assert surfaces(found) == [("Danish", "MISC")]
