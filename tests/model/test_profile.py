"""What is counted of a text, against a slow count of the same thing."""

import random
from collections import Counter

import pytest

from teddy.model.drift.profile import MOST_WORDS, Profiler, Sums
from teddy.model.drift.reference import PIECE_BINS, Reference, feature_bins
from teddy.model.predictor import Predictor
from teddy.model.text.documents import Document, Tagged
from teddy.model.text.sentences import Offsets, split_sentences

TEXTS = (
    "Anna Berg went to Oslo. Nobody was there!",
    "In New Haven , Otto Lind met Mira .",
    "who saw TEDDY MARSH in lund today? 42 bears, 3.5 apples; it's {x: [1]} = ok@here.org",
    "安娜昨天去了奥斯陆。Мира спит. Άννα! אנה ხატია",
    "",
    " \n\t ",
    "... !",
    "\ufffd \u200b",
    "Ida Holm and Jonas Falk like apples . " * 30,
)


@pytest.fixture
def profiler(tiny_predictor: Predictor) -> Profiler:
    return Profiler(tiny_predictor.manifest.labels, tiny_predictor.tagger.features.pieces)


def read(predictor: Predictor, text: str) -> tuple[Document, Tagged]:
    (tagged,) = predictor.tag_documents([text])
    return predictor.prepare(text), tagged


def by_name(profiler: Profiler, counts: "Counter[int]") -> dict[str, dict[str, int]]:
    """The bins that were met."""
    sums = profiler.sums()
    profiler.add(sums, counts)
    return met(profiler.summary(sums))


def met(reference: Reference) -> dict[str, dict[str, int]]:
    return {
        name: {each: n for each, n in feature.counts.items() if n}
        for name, feature in reference.features.items()
    }


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_counted_as_a_slow_reader_would(
    text: str, tiny_predictor: Predictor, profiler: Profiler
) -> None:
    document, tagged = read(tiny_predictor, text)
    found = by_name(profiler, profiler.count(document, tagged))
    words = [text[token.start : token.end] for token in tagged.tokens]
    pieces = [tiny_predictor.tagger.features.pieces.ids(word) for word in words]
    assert found["label"] == Counter(entity.label for entity in tagged.entities)
    bins = feature_bins(())["score"]
    assert found["score"] == Counter(
        bins[min(int(entity.score * 10), 9)] for entity in tagged.entities
    )
    kinds = {"outside": sum(token.tag == "O" for token in tagged.tokens)}
    kinds["inside"] = len(words) - kinds["outside"]
    assert found["entity_rate"] == {kind: n for kind, n in kinds.items() if n}
    numbers = Counter(min(max(len(ids), 1), PIECE_BINS) for ids in pieces)
    assert found["pieces"] == {
        "8+" if n == PIECE_BINS else str(n): count for n, count in numbers.items()
    }
    assert sum(found["piece_kind"].values()) == sum(max(len(ids), 1) for ids in pieces)
    for feature in ("word_length", "shape", "script"):
        assert sum(found[feature].values()) == len(words)
    sentences = [
        text[document.offsets.starts[first] : document.offsets.ends[last - 1]]
        for first, last in split_sentences(text, Offsets(*document.offsets))
        if any(map(str.isalpha, "".join(words[first:last])))
    ]
    for feature in ("sentence_length", "case"):
        assert sum(found[feature].values()) == len(sentences)


@pytest.mark.parametrize(
    ("word", "shape", "script"),
    [
        ("house", "lower", "latin"),
        ("n't", "lower", "latin"),
        ("été", "lower", "latin"),
        ("Oslo", "title", "latin"),
        ("I", "title", "latin"),
        ("O'neill", "title", "latin"),
        ("NATO", "upper", "latin"),
        ("U.S.", "upper", "latin"),
        ("iPhone", "mixed", "latin"),
        ("get_name", "mixed", "latin"),
        ("mp3", "mixed", "latin"),
        ("1996-08-22", "number", "none"),
        ("٣", "number", "none"),
        (",", "punctuation", "none"),
        ("。", "punctuation", "none"),
        ("...", "punctuation", "none"),
        ("==", "symbol", "none"),
        ("{", "symbol", "none"),
        ("😀", "symbol", "none"),
        ("斯", "uncased", "han"),
        ("ひ", "uncased", "kana"),
        ("한국", "uncased", "hangul"),
        ("سلام", "uncased", "arabic"),
        ("अन्ना", "uncased", "devanagari"),
        ("Мира", "title", "cyrillic"),
        ("άννα", "lower", "greek"),
        ("ანა", "lower", "other"),
    ],
)
def test_words_have_a_shape_and_a_script(
    word: str, shape: str, script: str, tiny_predictor: Predictor, profiler: Profiler
) -> None:
    found = by_name(profiler, profiler.count(*read(tiny_predictor, word)))
    assert (found["shape"], found["script"]) == ({shape: 1}, {script: 1})


@pytest.mark.parametrize(
    ("sentence", "case"),
    [
        ("he said nothing", "lower"),
        ("He said nothing", "mixed"),
        ("HE SAID 3 THINGS", "upper"),
        ("他什么都没说", "uncased"),
        ("3 + 4", None),
    ],
)
def test_sentences_have_a_case(
    sentence: str, case: str | None, tiny_predictor: Predictor, profiler: Profiler
) -> None:
    assert by_name(profiler, profiler.count(*read(tiny_predictor, sentence)))["case"] == (
        {case: 1} if case else {}
    )


def test_a_character_that_the_vocabulary_lacks_is_its_bytes(
    tiny_predictor: Predictor, profiler: Profiler
) -> None:
    found = by_name(profiler, profiler.count(*read(tiny_predictor, "斯")))
    assert found["piece_kind"]["byte"] == len("斯".encode())


def test_of_a_long_text_only_the_beginning_is_counted(
    tiny_predictor: Predictor, profiler: Profiler
) -> None:
    text = "Otto Lind went to Ghent . " * 2000
    document, tagged = read(tiny_predictor, text)
    found = by_name(profiler, profiler.count(document, tagged))
    n_words = sum(found["shape"].values())
    assert MOST_WORDS <= n_words < MOST_WORDS + tiny_predictor.manifest.window_words
    assert sum(found["entity_rate"].values()) == n_words
    last = document.offsets.ends[n_words - 1]
    assert sum(found["label"].values()) == sum(entity.end <= last for entity in tagged.entities)


def test_sums_do_not_depend_on_how_texts_are_divided(
    tiny_predictor: Predictor, profiler: Profiler
) -> None:
    counts = [profiler.count(*read(tiny_predictor, text)) for text in TEXTS]
    whole = profiler.sums()
    for each in counts:
        profiler.add(whole, each)
    draw = random.Random(2)  # noqa: S311
    for _ in range(10):
        parts = [profiler.sums() for _ in range(3)]
        for each in draw.sample(counts, len(counts)):
            profiler.add(draw.choice(parts), each)
        joined: Sums = profiler.sums()
        for part in parts:
            joined += part
        assert joined.n_texts == whole.n_texts == len(TEXTS)
        assert (joined.matrix == whole.matrix).all()


def test_words_are_remembered_and_count_the_same_each_time(
    tiny_predictor: Predictor, profiler: Profiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teddy.model.drift.profile._CACHED_WORDS", 50)
    anew = [
        profiler.count(*read(tiny_predictor, f"Mira{i} went there {i} times")) for i in range(200)
    ]
    assert len(profiler._words) <= 50
    again = [
        profiler.count(*read(tiny_predictor, f"Mira{i} went there {i} times")) for i in range(200)
    ]
    assert anew == again


def test_what_a_model_was_measured_on_is_in_its_file_with_every_feature(
    tiny_predictor: Predictor,
) -> None:
    manifest = tiny_predictor.manifest
    features = manifest.reference.features
    assert {name: tuple(each.counts) for name, each in features.items()} == feature_bins(
        manifest.labels
    )
    assert sum(features["case"].counts.values()) == 40  # the sentences of the made-up dev
    assert all(each.spread >= 0 for each in features.values())
