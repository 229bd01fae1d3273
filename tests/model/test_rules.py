"""Rules: what a file of them says, what matches, and who wins, against something slow."""

import json
import pickle
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.errors import RulesError
from teddy.model.predictor import Predictor, load
from teddy.model.rules.config import Use
from teddy.model.rules.dictionary import Dictionary
from teddy.model.rules.loading import load_rules
from teddy.model.rules.merging import Match, merge
from teddy.model.rules.patterns import Expression, Expressions
from teddy.model.rules.rules import Rules
from teddy.model.text.documents import Entity
from teddy.model.text.sentences import Offsets
from teddy.model.text.words import Tokeniser

pytest.importorskip("re2")

ENGLISH = Tokeniser(language="en")


def rules_of(folder: Path, text: str, **files: str) -> Rules:
    """Load a file of rules; other files go beside it, `names_txt` as names.txt."""
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    (folder / "rules.toml").write_text(text)
    return load_rules(folder / "rules.toml", ENGLISH)


def found(rules: Rules, text: str) -> list[tuple[str, str, str, float]]:
    """Return text, label, id and score of each match, in order."""
    starts, ends, words = ENGLISH.split_words(text)
    matches = rules.find(text, Offsets(starts, ends), words)
    ordered = sorted(matches, key=lambda each: (each.start, each.end))
    return [(text[m.start : m.end], m.label, m.id, m.score) for m in ordered]


# Who wins


@st.composite
def texts_with_matches(draw: st.DrawFn) -> tuple[list[Entity], list[Match]]:
    """Entities of a model, and matches, on a text of eight words of one character each."""
    stretch = st.tuples(st.integers(0, 7), st.integers(1, 4)).map(
        lambda both: (both[0], min(8, both[0] + both[1]))
    )
    entities: list[Entity] = []
    for start, end in sorted(draw(st.lists(stretch, max_size=3))):
        if not entities or start >= entities[-1].end:
            label = draw(st.sampled_from("AB"))
            entities.append(Entity(start, end, label, 0.7, "x" * (end - start)))
    uses: list[Use | None] = ["sure", "hint", "fill", None]
    matches = [
        Match(start, end, (start, end), True, draw(st.integers(0, 2)), use, label, 0.9)
        for start, end in draw(st.lists(stretch, max_size=7))
        for use in [draw(st.sampled_from(uses))]
        for label in [draw(st.sampled_from("AB" if use else ["A", "B", ""]))]
    ]
    return entities, matches


def merge_slowly(
    entities: Sequence[Entity], matches: Sequence[Match]
) -> set[tuple[int, int, str, str]]:
    """Return start, end, label and source, by the four sentences at the head of merging.py."""
    never = [m for m in matches if m.use is None]

    def is_never(start: int, end: int, label: str) -> bool:
        return any((m.start, m.end) == (start, end) and m.label in ("", label) for m in never)

    taken: set[int] = set()
    made: set[tuple[int, int, str, str]] = set()

    def take(start: int, end: int, label: str, source: str) -> None:
        if not is_never(start, end, label) and taken.isdisjoint(range(start, end)):
            taken.update(range(start, end))
            made.add((start, end, label, source))

    def take_all(use: str) -> None:
        left = [m for m in matches if m.use == use]
        while left:  # the longest, of these the first, of these that of the earliest rule
            longest = max(m.end - m.start for m in left)
            those = [m for m in left if m.end - m.start == longest]
            those = [m for m in those if m.start == min(m.start for m in those)]
            best = next(m for m in those if m.rule == min(m.rule for m in those))
            left.remove(best)
            take(best.start, best.end, best.label, "abc"[best.rule])

    take_all("sure")
    sure = set(taken)
    for each in entities:
        if sure.isdisjoint(range(each.start, each.end)):
            take(each.start, each.end, each.label, "model")
    take_all("fill")
    return made


@given(texts_with_matches())
def test_who_wins_is_what_the_four_sentences_say(
    both: tuple[list[Entity], list[Match]],
) -> None:
    entities, matches = both
    merged = merge(entities, matches, "abc", lambda start, end: "x" * (end - start))
    got = {(e.start, e.end, e.label, e.source or "") for e in merged.entities}
    assert got == merge_slowly(entities, matches)
    assert all(a.end <= b.start for a, b in zip(merged.entities, merged.entities[1:], strict=False))


# Dictionaries

WORDS = st.sampled_from(["an", "An", "AN", "bo", "Bo", "bos", "Ans"])
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
CASES = st.sampled_from(["exact", "smart", "fold"])


def same(name: str, stretch: str, case: str) -> bool:
    if case == "fold" or (case == "smart" and name == name.lower()):
        return name.casefold() == stretch.casefold()
    return stretch == name or (case == "smart" and stretch == name.upper())


@given(st.lists(st.tuples(NAMES, CASES), max_size=6), st.lists(WORDS, max_size=8), st.booleans())
def test_a_dictionary_finds_what_comparing_every_stretch_finds(
    names: list[tuple[str, str]], words: list[str], endings: bool
) -> None:
    dictionary = Dictionary(ENGLISH)
    for rule, (name, case) in enumerate(names):
        dictionary.add(rule, name, "L", f"id-{rule}", case)
        if endings:
            dictionary.allow_endings(rule, ["s"])
    wanted = set()
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            stretch = " ".join(words[start:end])
            for rule, (name, case) in enumerate(names):
                forms = [stretch]
                if endings and len(words[end - 1]) > 1 and stretch[-1] in "sS":
                    forms.append(stretch[:-1])
                if any(same(name, form, case) for form in forms):
                    wanted.add((start, end, rule, "L", f"id-{rule}"))
    assert {tuple(each) for each in dictionary.find(words)} == wanted


def test_names_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    rules = rules_of(
        tmp_path,
        """
        [[dictionary]]
        file = "places.txt"
        label = "LOC"
        min_length = 3
        [[dictionary]]
        file = "people.csv"
        column = "full name"
        id_column = "no"
        label = "PER"
        [[dictionary]]
        file = "firms.tsv"
        label_column = 2
        [[dictionary]]
        file = "ruler.jsonl"
        """,
        places_txt="Oslo\n\nUt\nSaint-Denis\n",
        people_csv='no,full name\n17,"Berg, Anna"\n18,Otto Lind\n',
        firms_tsv="Acme & Co.\tORG\n",
        ruler_jsonl='{"label": "GPE", "pattern": "San Francisco", "id": "sf"}\n',
    )
    text = "Oslo Ut Saint-Denis : Berg, Anna ; Otto Lind , Acme & Co. San Francisco"
    assert [each[:3] for each in found(rules, text)] == [
        ("Oslo", "LOC", ""),
        ("Saint-Denis", "LOC", ""),
        ("Berg, Anna", "PER", "17"),
        ("Otto Lind", "PER", "18"),
        ("Acme & Co.", "ORG", ""),
        ("San Francisco", "GPE", "sf"),
    ]
    assert rules.labels == ("LOC", "PER", "ORG", "GPE")
    assert len(rules.paths) == 5


# Patterns


@given(st.text("ab é\n", max_size=40), st.sampled_from(["a+b", "(?i)A", "é b|b", "[^ab]+"]))
def test_patterns_find_what_the_standard_library_finds(text: str, source: str) -> None:
    expressions = Expressions([Expression.of(0, source)])
    assert [(start, end) for _, start, end in expressions.find(text)] == [
        each.span() for each in re.finditer(source, text)
    ]


def test_a_long_text_is_searched_in_parts_that_lose_nothing() -> None:
    text = ("x" * 997 + " AB-12 ") * 20
    expressions = Expressions([Expression.of(0, r"\bAB-\d+\b")])
    assert [(a, b) for _, a, b in expressions.find(text)] == [
        each.span() for each in re.finditer(r"\bAB-\d+\b", text)
    ]


# Scores


def test_context_decides_the_score_and_the_least_score_drops(tmp_path: Path) -> None:
    rules = rules_of(
        tmp_path,
        """
        [[pattern]]
        name = "orders"
        pattern = 'order (?P<entity>\\d{4})|\\b\\d{4}\\b'
        label = "ORDER"
        score = 0.4
        min_score = 0.3
        [[pattern.context]]
        words = ["Our order", "parcel"]
        within = 3
        score = 0.9
        [[pattern.context]]
        words = ["in"]
        score = 0.1
        """,
    )
    assert found(rules, "the parcel no. 1234 in 1999") == [("1234", "ORDER", "", 0.9)]
    assert found(rules, "our order 1234") == [("1234", "ORDER", "", 0.9)]
    assert found(rules, "no. 1234") == [("1234", "ORDER", "", 0.4)]


# Mistakes


@pytest.mark.parametrize(
    ("toml", "line", "said"),
    [
        ("[[dictionary]]\nlable = 'A'", 2, "did you mean label"),
        ("[[dictionary]]\nlabel = 'A'", 1, "give either file or entries"),
        ("[[pattern]]\nlabel = 'A'\npattern = 'a('", 1, "missing )"),
        ("[[pattern]]\nlabel = 'A'\npattern = 'a*'", 1, "matches nothing at all"),
        ("[[never]]\nname = 'model'\nentries = ['a']", 2, "source of the model's"),
        ("x = [", 1, "not TOML"),
        ("\n[[pattern]]\nlabel = 'A'\npattern = 'a'\nuse = 'hint'\nscore = 1", 6, "below 1"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(
    tmp_path: Path, toml: str, line: int, said: str
) -> None:
    with pytest.raises(RulesError, match=re.escape(said)) as refused:
        rules_of(tmp_path, toml)
    assert refused.value.line == line


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", "Oslo,LOC\nLund\n", 2),
        ("a.jsonl", '{"text": "Oslo", "label": "LOC"}\n{"text": 3}\n', 2),
        ("a.jsonl", "\n{\n", 2),
        ("a.doc", "Oslo", None),
    ],
)
def test_a_mistake_in_a_dictionary_is_told_with_its_line(
    tmp_path: Path, name: str, content: str, line: int | None
) -> None:
    (tmp_path / name).write_text(content)
    column = "label_column = 2" if name == "a.csv" else ""
    with pytest.raises(RulesError) as refused:
        rules_of(tmp_path, f"[[dictionary]]\nfile = {name!r}\n{column}")
    assert (Path(refused.value.path).name, refused.value.line) == (name, line)


# With a model


def test_without_rules_entities_say_nothing_of_a_source(tiny_predictor: Predictor) -> None:
    (entities,) = tiny_predictor.tag(["Anna Berg went to Oslo."])
    assert [(each.source, each.id) for each in entities] == [(None, None)] * 2


def test_rules_and_model_share_a_text(tiny_predictor: Predictor, tmp_path: Path) -> None:
    rules = rules_of(
        tmp_path,
        """
        [[dictionary]]
        name = "customers"
        file = "customers.csv"
        column = 1
        id_column = 2
        label = "CUSTOMER"
        [[pattern]]
        name = "fruit"
        pattern = 'apples|Lind'
        label = "FRUIT"
        use = "fill"
        [[never]]
        entries = ["Oslo"]
        """,
        customers_csv="Anna Berg,c-7\n",
    )
    ruled = tiny_predictor.with_rules(rules)
    text = "Anna Berg went to Oslo . Otto Lind and Mira like apples ."
    by_itself = {each.text: each.label for each in tiny_predictor.tag([text])[0]}
    (tagged,) = ruled.tag_documents([text])
    assert [(e.text, e.label, e.source, e.id) for e in tagged.entities] == [
        ("Anna Berg", "CUSTOMER", "customers", "c-7"),
        ("Otto Lind", by_itself["Otto Lind"], "model", None),
        ("Mira", by_itself["Mira"], "model", None),
        ("apples", "FRUIT", "fruit", None),
    ]
    spelt = [each.tag for each in tagged.tokens]
    assert spelt[:5] == ["B-CUSTOMER", "E-CUSTOMER", "O", "O", "O"]
    assert ruled.labels == ("PER", "LOC", "CUSTOMER", "FRUIT")
    in_words = ruled.tag([text.split()])[0]
    assert [(e.text, e.label, e.source, e.id) for e in in_words] == [
        (e.text, e.label, e.source, e.id) for e in tagged.entities
    ]
    assert tiny_predictor.tag([text])[0][0].label == "PER"  # it is another one


def test_a_hint_moves_the_log_odds_that_the_model_gives(
    tiny_predictor: Predictor, tmp_path: Path
) -> None:
    text = "Anna Berg went to Oslo ."
    before = tiny_predictor.tag([text])[0][1].score
    hint = "[[dictionary]]\nentries = ['Oslo']\nlabel = 'LOC'\nuse = 'hint'\nscore = 0.8"
    ruled = tiny_predictor.with_rules(rules_of(tmp_path, hint))
    after = ruled.tag([text])[0][1]
    assert after.score / (1 - after.score) == pytest.approx(4 * before / (1 - before), rel=1e-5)
    assert after.source == "model"


def test_a_hint_moves_the_probability_that_a_threshold_is_compared_with(
    tiny_predictor: Predictor, tmp_path: Path
) -> None:
    text = "Anna Berg went to Oslo ."
    before = tiny_predictor.tag([text])[0][1].score
    hint = "[[dictionary]]\nentries = ['Oslo']\nlabel = 'LOC'\nuse = 'hint'\nscore = 0.2"
    ruled = tiny_predictor.with_rules(rules_of(tmp_path, hint))
    odds = before / (1 - before) / 4
    found = {e.text: e.score for e in ruled.tag([text], threshold=0.0001)[0] if e.label == "LOC"}
    assert found["Oslo"] == pytest.approx(odds / (1 + odds), rel=1e-4)
    above = ruled.tag([text], threshold=min(1.0, found["Oslo"] * 1.01))[0]
    assert ("Oslo", "LOC") not in [(e.text, e.label) for e in above]
    never = tiny_predictor.with_rules(rules_of(tmp_path, "[[never]]\nentries = ['Oslo']"))
    assert "Oslo" not in [e.text for e in never.tag([text], threshold=0.0001)[0]]


def test_hints_leave_other_sentences_as_they_are(tiny_predictor: Predictor, tmp_path: Path) -> None:
    texts = ["Anna Berg went to Oslo .", "Mira and Otto Lind like apples ."] * 3
    hint = "[[dictionary]]\nentries = ['Oslo']\nlabel = 'LOC'\nuse = 'hint'\nscore = 0.8"
    ruled = tiny_predictor.with_rules(rules_of(tmp_path, hint))
    plain = tiny_predictor.tag(texts)
    together = ruled.tag(texts)
    for k in (1, 3, 5):
        assert [e.text for e in together[k]] == [e.text for e in plain[k]]
        assert [e.score for e in together[k]] == pytest.approx([e.score for e in plain[k]])
    alone = ruled.tag(texts[:1])[0]
    assert [e.score for e in together[0]] == pytest.approx([e.score for e in alone])


def test_a_hint_at_a_label_that_the_model_lacks_is_refused(
    tiny_predictor: Predictor, tmp_path: Path
) -> None:
    hint = "[[dictionary]]\nentries = ['Oslo']\nlabel = 'CITY'\nuse = 'hint'"
    with pytest.raises(RulesError, match="hints at CITY"):
        tiny_predictor.with_rules(rules_of(tmp_path, hint))


def test_rules_alone_are_a_tagger(tmp_path: Path) -> None:
    rules_of(tmp_path, "[[dictionary]]\nentries = ['Oslo', 'Port Ellen']\nlabel = 'LOC'")
    alone = load(tmp_path / "rules.toml")
    again = pickle.loads(pickle.dumps(alone))  # noqa: S301
    for each in (alone, again):
        (tagged,) = each.tag_documents(["From Oslo to Port Ellen."])
        assert [(e.text, e.label, e.source) for e in tagged.entities] == [
            ("Oslo", "LOC", "dictionary-1"),
            ("Port Ellen", "LOC", "dictionary-1"),
        ]
        assert [token.tag for token in tagged.tokens] == ["O", "S-LOC", "O", "B-LOC", "E-LOC", "O"]
    assert alone.manifest.name == "rules"
    assert alone.tag([""]) == [[]]


def test_phrases_match_as_in_spacy(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    draw = random.Random(3)  # noqa: S311
    vocabulary = ["red", "fox", "Fox", "in", "the", "snow", "Oslo", "New", "York", "one", "two"]
    phrases = sorted({" ".join(draw.choices(vocabulary, k=draw.randint(1, 4))) for _ in range(200)})
    patterns = [{"label": f"L{k}", "pattern": each} for k, each in enumerate(phrases)]
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    (tmp_path / "ruler.jsonl").write_text("\n".join(map(json.dumps, patterns)))
    (tmp_path / "rules.toml").write_text("[[dictionary]]\nfile = 'ruler.jsonl'\n")
    ours = load(tmp_path / "rules.toml")
    texts = [" ".join(draw.choices([*vocabulary, "x", ","], k=30)) for _ in range(1000)]
    for text, entities in zip(texts, ours.tag(texts), strict=True):
        wanted = [(each.start_char, each.end_char, each.label_) for each in nlp(text).ents]
        assert [(each.start, each.end, each.label) for each in entities] == wanted
