"""The predictor: offsets are true for any text, nothing is cut, and texts are independent."""

import gc
import pickle
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import teddy
from teddy.model.config import FeatureConfig
from teddy.model.errors import ModelFileError, TextError
from teddy.model.file.bundle import CanaryEntity, CanaryText, extra_files, read_bundle, seal
from teddy.model.network.torchscript import from_archive, script, to_archive
from teddy.model.predictor import Predictor, load
from teddy.model.tags.spans import Scheme, Span, read_tags, write_tags
from teddy.model.text.documents import Tagged
from teddy.model.text.words import Tokeniser

FRAGMENTS = [
    "Anna Berg",
    "Teddy Marsh",
    "Oslo",
    "New Haven",
    "went to",
    "In ",
    " met ",
    ".",
    ",",
    " ",
    "!",
    "\n",
    "\r\n",
    "\t",
    "\x00",
    "\u00a0",
    "\u00ad",
    "\u200b",
    "\u200d",
    "\u202e",
    "\ufeff",
    "\ufffd",
    "\u2581",
    "e\u0301",
    "\u0301",
    "👩‍👩‍👧",
    "👍🏽",
    "🇳🇴",
    "😀",
    "中国人民",
    "こんにちは",
    "שלום",
    "مرحبا",
    "สวัสดี",
    "ß",
    "İ",
    "U.S.",
    "x" * 150,
    "https://example.org/a?b=c",
    "\U0010ffff",
]
any_text = st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join) | st.text(max_size=40)
few = settings(deadline=None, max_examples=50)

SENTENCES = [
    "Anna Berg went to Oslo.",
    "",
    "Nobody was there.",
    "In Port Ellen, Mira met Teddy Marsh. Who saw Otto Lind in Ghent today?",
    " \n ",
    "Ida Holm and Jonas Falk like apples.",
    "The bears of New Haven sleep.",
]


def scores(tagged: Tagged) -> list[float]:
    return [entity.score for entity in tagged.entities] + [token.score for token in tagged.tokens]


def assert_lawful(text: str, tagged: Tagged, tokeniser: Tokeniser) -> None:
    """What holds of any result for any text."""
    assert [(token.start, token.end) for token in tagged.tokens] == tokeniser.offsets(text)
    assert tagged.n_words == len(tagged.tokens)
    assert all(0 <= score <= 1 for score in scores(tagged))
    assert all(entity.text == text[entity.start : entity.end] != "" for entity in tagged.entities)
    for one, following in pairwise(tagged.entities):
        assert one.end <= following.start
    tags = [token.tag for token in tagged.tokens]
    spans = read_tags(tags, Scheme.BIOES)
    assert tags == write_tags(spans, len(tags), Scheme.BIOES)  # nothing had to be repaired
    spelt = [
        Span(tagged.tokens[span.start].start, tagged.tokens[span.end - 1].end, span.label)
        for span in spans
    ]
    assert spelt == [Span(entity.start, entity.end, entity.label) for entity in tagged.entities]


def assert_same(found: Tagged, expected: Tagged) -> None:
    """The same to the last digits of single precision, which the shape of a batch may move."""

    def settled(tagged: Tagged) -> tuple[Any, ...]:
        entities = [(each.start, each.end, each.label, each.text) for each in tagged.entities]
        return entities, [(each.start, each.end, each.tag) for each in tagged.tokens]

    assert settled(found) == settled(expected)
    assert scores(found) == pytest.approx(scores(expected), abs=1e-6)


def names(tagged: Tagged) -> list[tuple[str, str]]:
    return [(entity.label, entity.text) for entity in tagged.entities]


# Any text.


@few
@given(text=any_text)
def test_any_text_gives_true_offsets_and_tags_that_spell_its_entities(
    tiny_predictor: Predictor, text: str
) -> None:
    (tagged,) = tiny_predictor.tag_documents([text])
    assert_lawful(text, tagged, tiny_predictor.tokeniser)
    assert tiny_predictor.tag([text]) == [tagged.entities]


def test_the_names_of_the_made_up_corpus_are_found(tiny_predictor: Predictor) -> None:
    (tagged,) = tiny_predictor.tag_documents(
        ["Anna Berg went to Oslo.\r\nIn New Haven, Teddy Marsh met Otto Lind."]
    )
    assert names(tagged) == [
        ("PER", "Anna Berg"),
        ("LOC", "Oslo"),
        ("LOC", "New Haven"),
        ("PER", "Teddy Marsh"),
        ("PER", "Otto Lind"),
    ]


@few
@given(before=any_text, surrogate=st.characters(categories=["Cs"]), after=any_text)
def test_a_lone_surrogate_is_refused_and_its_position_named_and_no_text_told(
    tiny_predictor: Predictor, before: str, surrogate: str, after: str
) -> None:
    text = before + surrogate + after
    calls: list[Callable[[], object]] = [
        lambda: tiny_predictor.prepare(text),
        lambda: tiny_predictor.tag(["Anna", text]),
        lambda: list(tiny_predictor.tag_documents([text])),
    ]
    for call in calls:
        with pytest.raises(TextError) as refused:
            call()
        assert (
            str(refused.value)
            == f"lone surrogate U+{ord(surrogate):04X} at character {len(before)}"
        )


@pytest.mark.parametrize(
    "text", ["", " ", "\n\r\n\t", "\u00a0\u3000", "\x00", "\ufeff", "\u200b"], ids=ascii
)
def test_a_text_without_words_gives_nothing(tiny_predictor: Predictor, text: str) -> None:
    assert not tiny_predictor.prepare(text).windows
    (tagged,) = tiny_predictor.tag_documents([text])
    assert (tagged.entities, tagged.tokens, tagged.n_words) == ([], [], 0)


def test_no_texts_give_no_results(tiny_predictor: Predictor) -> None:
    assert tiny_predictor.tag([]) == []
    assert list(tiny_predictor.tag_documents([])) == []


def test_a_single_string_is_refused_for_it_would_be_tagged_letter_by_letter(
    tiny_predictor: Predictor,
) -> None:
    with pytest.raises(TypeError, match=r"one text as \[text\]"):
        tiny_predictor.tag("Anna Berg")
    with pytest.raises(TypeError, match=r"one text as \[text\]"):
        next(tiny_predictor.tag_documents("Anna Berg"))
    with pytest.raises(TypeError, match="sequences of words"):
        tiny_predictor.tag_sentences(["Anna Berg"])


@pytest.mark.parametrize("texts", [{"text": "Anna Berg"}, b"Anna Berg", None, 7, OrderedDict(a=1)])
def test_what_is_no_sequence_of_texts_is_refused_by_its_type(
    tiny_predictor: Predictor, texts: Any
) -> None:
    named = f"must be a sequence of texts, not {type(texts).__name__}"
    with pytest.raises(TypeError, match=f"^texts {named}"):
        tiny_predictor.tag(texts)
    named = f"is not a text but {type(texts).__name__}"
    with pytest.raises(TypeError, match=rf"^texts\[1\] {named}$"):
        tiny_predictor.tag_sentences([["Anna"], texts])


@pytest.mark.parametrize("other", [float("nan"), None, 3, b"Oslo", {"words": ["Oslo"]}])
@pytest.mark.parametrize("position", [0, 1, 2000])
def test_what_is_no_text_is_named_by_its_position(
    tiny_predictor: Predictor, other: Any, position: int
) -> None:
    texts = ["Anna Berg went to Oslo." * 20] * position + [other]
    named = f"is not a text but {type(other).__name__}"
    with pytest.raises(TypeError, match=rf"^texts\[{position}\] {named}$"):
        tiny_predictor.tag(iter(texts))
    named = f"is not a word but {type(other).__name__}"
    for call in (tiny_predictor.tag, tiny_predictor.tag_sentences):
        with pytest.raises(TypeError, match=rf"^texts\[1\]\[{position}\] {named}$"):
            call([["Anna"], texts])


@pytest.mark.parametrize(
    "line",
    [
        "Anna Berg , incomprehensibly and uncharacteristically misunderstood , disappeared ; "
        * 12_500,
        "abracadabra" * 91_000,
    ],
    ids=["without a full stop", "without a space"],
)
def test_a_line_of_a_megabyte_is_tagged_to_its_last_character(
    tiny_predictor: Predictor, line: str
) -> None:
    assert len(line) >= 1_000_000
    (tagged,) = tiny_predictor.tag_documents([line])
    assert_lawful(line, tagged, tiny_predictor.tokeniser)
    assert "".join(line[token.start : token.end] for token in tagged.tokens) == line.replace(
        " ", ""
    )


# A result is a text's own.


@few
@given(texts=st.lists(any_text | st.sampled_from(SENTENCES), max_size=8))
def test_texts_together_read_as_each_alone_and_in_order(
    tiny_predictor: Predictor, texts: list[str]
) -> None:
    together = list(tiny_predictor.tag_documents(texts))
    for tagged, text in zip(together, texts, strict=True):
        (alone,) = tiny_predictor.tag_documents([text])
        assert_same(tagged, alone)


def test_each_line_is_a_sentence_where_a_call_the_loading_or_the_model_says_so(
    tiny_model: Path, tiny_predictor: Predictor, tmp_path: Path
) -> None:
    text = "we went to Oslo and there we met old Teddy\nMarsh, who was glad\nof it"
    cuts = tiny_predictor.prepare, tiny_predictor.cut_by("lines")
    assert [len(cut(text).windows) for cut in cuts] == [1, 3]
    loaded = load(tiny_model, precision="fp32", sentences="lines")
    told = load(reseal(tiny_model, tmp_path / "m.teddy", sentences="lines"), precision="fp32")
    for each in (loaded, told, pickle.loads(pickle.dumps(loaded))):  # noqa: S301
        assert each.sentences == "lines"
        assert each.tag([text]) == tiny_predictor.tag([text], sentences="lines")
        assert each.tag([text], sentences="document") == tiny_predictor.tag([text])
    with pytest.raises(ValueError, match="document or lines, not words"):
        tiny_predictor.tag([text], sentences="words")  # type: ignore[arg-type]


def test_tagging_is_preparing_predicting_and_assembling(tiny_predictor: Predictor) -> None:
    documents = [tiny_predictor.prepare(text) for text in SENTENCES]
    outputs = iter(
        tiny_predictor.predict([window for document in documents for window in document.windows])
    )
    assembled = [
        tiny_predictor.assemble(each, [next(outputs) for _ in each.windows]) for each in documents
    ]
    expected = list(tiny_predictor.tag_documents(SENTENCES))
    assert assembled == expected
    assert [each.tokens for each in assembled] == [each.tokens for each in expected]


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_texts_are_read_as_they_are_needed_and_how_many_at_once_changes_nothing(
    tiny_predictor: Predictor, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    texts = SENTENCES * 5
    expected = list(tiny_predictor.tag_documents(texts))
    monkeypatch.setattr("teddy.model.prediction._CHARACTERS_AT_ONCE", at_once)
    n_read = 0

    def reading() -> Iterator[str]:
        nonlocal n_read
        for text in texts:
            n_read += 1
            yield text

    for n_given, (found, wanted) in enumerate(
        zip(tiny_predictor.tag_documents(reading()), expected, strict=True)
    ):
        assert_same(found, wanted)
        assert n_read <= min(n_given + at_once, len(texts))


def test_threads_that_share_a_predictor_get_what_one_would(tiny_predictor: Predictor) -> None:
    expected = [tiny_predictor.tag([text]) for text in SENTENCES]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda text: tiny_predictor.tag([text]), SENTENCES * 10))
    assert answers == expected * 10


def test_sentences_of_words_are_neither_cut_nor_joined(tiny_predictor: Predictor) -> None:
    sentences = [
        ["Anna", "Berg", "went", "to", "Oslo", "."],
        [],
        ["Mira", ".", "Otto", "Lind", "."],
    ]
    spans = tiny_predictor.tag_sentences(sentences)
    assert spans[:2] == [[Span(0, 2, "PER"), Span(4, 5, "LOC")], []]
    assert spans == [tiny_predictor.tag_sentences([sentence])[0] for sentence in sentences]
    assert len(spans) == len(sentences)


# Loading.


def reseal(source: Path, target: Path, **changes: Any) -> Path:
    """The model file with its manifest changed, under a digest of its own."""
    bundle = read_bundle(source)
    extras = extra_files(replace(bundle.manifest, **changes), bundle.pieces, bundle.words)
    target.write_bytes(seal(to_archive(from_archive(bundle.archive), extras)))
    return target


def test_a_model_with_its_manifest_sealed_anew_is_the_same_model_of_another_version(
    tiny_model: Path, tiny_predictor: Predictor, tmp_path: Path
) -> None:
    renamed = load(reseal(tiny_model, tmp_path / "m.teddy", name="renamed"), precision="fp32")
    assert renamed.tag(SENTENCES) == tiny_predictor.tag(SENTENCES)
    assert (renamed.manifest.name, tiny_predictor.manifest.name) == ("renamed", "tiny")
    assert renamed.version != tiny_predictor.version
    assert tiny_predictor.version == read_bundle(tiny_model).version


def test_a_model_without_users_is_gone_at_once_without_the_garbage_collector(
    tiny_model: Path,
) -> None:
    predictor = load(tiny_model, precision="fp32")
    predictor.tag(["Anna Berg went to Oslo."])
    parts = [
        weakref.ref(each) for each in (predictor.tagger.network, predictor.tagger.features.pieces)
    ]
    gc.freeze()  # as `teddy.model.system.memory.freeze_gc` does: a cycle would never be found
    try:
        del predictor
        assert [part() for part in parts] == [None, None]
    finally:
        gc.unfreeze()


def test_what_a_file_says_of_a_model_is_what_the_loaded_model_says(
    tiny_model: Path, tiny_predictor: Predictor
) -> None:
    assert tiny_predictor.manifest == read_bundle(tiny_model).manifest
    assert load(str(tiny_model), precision="fp32").tag(SENTENCES) == tiny_predictor.tag(SENTENCES)
    assert teddy.load(tiny_model, precision="fp32").tag(SENTENCES) == tiny_predictor.tag(SENTENCES)


@pytest.mark.parametrize(
    "entities",
    [
        (),
        (CanaryEntity(start=0, end=4, label="PER"),),
        (CanaryEntity(start=0, end=9, label="LOC"),),
    ],
    ids=["missing", "shorter", "another label"],
)
def test_a_model_that_fails_its_canary_is_refused(
    tiny_model: Path, tmp_path: Path, entities: tuple[CanaryEntity, ...]
) -> None:
    canary = (
        CanaryText(text="Nobody was there.", entities=()),
        CanaryText(text="Anna Berg.", entities=entities),
    )
    path = reseal(tiny_model, tmp_path / "m.teddy", canary=canary)
    with pytest.raises(ModelFileError, match="fails its canary in fp32"):
        load(path, precision="fp32")


def test_a_model_without_a_canary_is_loaded(tiny_model: Path, tmp_path: Path) -> None:
    predictor = load(reseal(tiny_model, tmp_path / "m.teddy", canary=()))
    assert predictor.passes_canary()


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"labels": ("PER",)}, "the network has 9 tags, the manifest's labels make 5"),
        (
            {"labels": ("PER", "LOC", "ORG")},
            "the network has 9 tags, the manifest's labels make 13",
        ),
        ({"labels": ("PER", "PER")}, "labels must be different"),
        ({"features": FeatureConfig(affix_rows=100_000)}, ""),
        (
            {"window_words": 8, "window_overlap": 8},
            "a window of 8 words cannot overlap the next by 8",
        ),
    ],
    ids=[
        "too few labels",
        "too many labels",
        "a label twice",
        "more features",
        "overlap as long as the window",
    ],
)
def test_a_manifest_that_does_not_fit_its_network_is_refused(
    tiny_model: Path, tmp_path: Path, changes: dict[str, Any], cause: str
) -> None:
    path = reseal(tiny_model, tmp_path / "m.teddy", **changes)
    with pytest.raises(ModelFileError, match=f"do not fit together: .*{cause}"):
        load(path, precision="fp32")


def test_a_sealed_file_with_a_network_that_is_no_tagger_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(tiny_model)
    extras = extra_files(bundle.manifest, bundle.pieces, bundle.words)
    (tmp_path / "m.teddy").write_bytes(seal(to_archive(script(nn.Linear(2, 2)), extras)))
    for precision in ("fp32", "bf16"):
        with pytest.raises(ModelFileError, match="do not fit together"):
            load(tmp_path / "m.teddy", precision=precision)


def test_pieces_that_sentencepiece_cannot_read_are_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    bundle = read_bundle(tiny_model)
    extras = extra_files(bundle.manifest, b"no pieces", bundle.words)
    (tmp_path / "m.teddy").write_bytes(seal(to_archive(from_archive(bundle.archive), extras)))
    with pytest.raises(ModelFileError, match="do not fit together"):
        load(tmp_path / "m.teddy", precision="fp32")
