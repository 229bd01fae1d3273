"""The laws of the benchmark suite: what it reads, who has a turn when, and what becomes of the
figures."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks import entrants, gum, texts
from benchmarks.contenders.contender import Entrant
from benchmarks.growth import MEGABYTE, stages
from benchmarks.machine import cores
from benchmarks.process import ContenderError, OutOfTimeError, Worker
from benchmarks.report import Results, glance, print_report
from benchmarks.rounds import Clock, paired_ratio, percentile, texts_for
from benchmarks.slices import write_slices, write_texts
from benchmarks.speed import Comparison, Turn, in_turn
from benchmarks.worker import read_texts
from teddy.model.predictor import Predictor

FEW_WORDS = st.lists(st.sampled_from(["a", "be.", "see!", "Dee"]), min_size=1, max_size=90).map(
    " ".join
)
POSITIVE = st.floats(0.01, 100.0)


@pytest.fixture(scope="module")
def paragraphs() -> list[str]:
    return list(islice(texts.made_up_paragraphs(), 4_000))


def test_made_up_text_is_the_same_for_the_same_seed_only(paragraphs: list[str]) -> None:
    assert list(islice(texts.made_up_paragraphs(seed=1), 50)) == paragraphs[:50]
    assert list(islice(texts.made_up_paragraphs(seed=2), 50)) != paragraphs[:50]


def test_the_words_of_made_up_text_are_many_and_follow_zipfs_law(paragraphs: list[str]) -> None:
    counts = Counter(
        word.strip(",;:.?!()") for paragraph in paragraphs for word in paragraph.lower().split()
    )
    assert len(counts) > 20_000
    frequencies = [count for _, count in counts.most_common(3_000)]
    ranks = [2**power for power in range(2, 12)]
    xs, ys = [math.log(rank) for rank in ranks], [math.log(frequencies[rank]) for rank in ranks]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum(
        (x - mean_x) ** 2 for x in xs
    )
    assert -1.3 < slope < -0.7


def test_made_up_paragraphs_are_of_all_lengths(paragraphs: list[str]) -> None:
    lengths = sorted(map(texts.count_words, paragraphs))
    assert lengths[0] < 10
    assert 30 < lengths[len(lengths) // 2] < 60
    assert lengths[-1] > 200


@given(st.lists(FEW_WORDS, max_size=8))
def test_short_texts_are_stretches_of_their_paragraph_of_about_the_same_length(
    source: list[str],
) -> None:
    for text in texts.short_texts(source):
        assert texts.SHORT_WORDS // 2 <= texts.count_words(text) <= 2 * texts.SHORT_WORDS
        assert any(text in paragraph for paragraph in source)


def test_documents_lose_no_word_and_single_texts_have_just_so_many(paragraphs: list[str]) -> None:
    documents = list(texts.long_texts(paragraphs))
    joined = " ".join(" ".join(documents).split())
    assert " ".join(" ".join(paragraphs).split()).startswith(joined)
    assert all(texts.count_words(document) >= texts.LONG_WORDS for document in documents)
    assert {texts.count_words(text) for text in texts.single_texts(paragraphs)} == {
        texts.ONE_TEXT_WORDS
    }


def test_mixed_texts_are_of_one_word_of_thousands_and_of_all_between(paragraphs: list[str]) -> None:
    lengths = list(map(texts.count_words, islice(texts.mixed_texts(paragraphs), 1_000)))
    assert min(lengths) == 1
    assert max(lengths) >= texts.LONG_WORDS
    assert len(set(lengths)) > 100


@given(st.lists(FEW_WORDS, max_size=20), st.integers(1, 300))
def test_taking_words_takes_no_text_more_than_needed(source: list[str], n_words: int) -> None:
    taken = texts.take_words(source, n_words)
    assert taken == source[: len(taken)]
    assert sum(map(texts.count_words, taken)) >= n_words or taken == source
    assert sum(map(texts.count_words, taken[:-1])) < n_words


def test_no_slice_has_the_text_of_another(tmp_path: Path) -> None:
    source = texts.Source(None)
    slices = write_slices(source, source.paragraphs(), 3, 5_000, tmp_path)
    written = [list(read_texts(str(each.file))) for each in chain.from_iterable(slices.values())]
    assert [len(each) for each in written] == [
        each.n_texts for each in chain.from_iterable(slices.values())
    ]
    assert len(set(chain.from_iterable(written))) == sum(map(len, written))


def test_a_file_is_read_again_when_it_ends_and_refused_when_it_is_blank(tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("one two\n\n three \n")
    source = texts.Source(tmp_path / "two.txt")
    assert source.n_words() == 3
    assert list(islice(source.paragraphs(), 3)) == ["one two", " three ", "one two"]
    (tmp_path / "blank.txt").write_text(" \n\n")
    with pytest.raises(ValueError, match="not one word"):
        texts.Source(tmp_path / "blank.txt").paragraphs()


def turns_taken(
    workers: dict[str, str], rounds: int, fails: dict[tuple[str, int], Exception]
) -> tuple[list[str], Any]:
    """The order of the turns, and what `in_turn` gives, when some of them fail."""
    order: list[str] = []

    def turn(worker: str, number: int) -> Turn:
        order.append(worker)
        if (worker, number) in fails:
            raise fails[worker, number]
        return Turn(value=number)

    return order, in_turn(
        workers, range(rounds), turn, lambda name, error: order.append(f"{name}: {error}")
    )


def test_contenders_take_turns_in_the_same_order_in_each_round() -> None:
    order, found = turns_taken({"a": "a", "b": "b", "c": "c"}, 3, {})
    assert order == ["a", "b", "c"] * 3
    assert found == {name: [Turn(value=number) for number in range(3)] for name in "abc"}


def test_who_fails_is_told_of_and_has_no_more_turns() -> None:
    workers = {"a": "a", "b": "b"}
    order, found = turns_taken(workers, 3, {("a", 1): ContenderError("out of memory")})
    assert order == ["a", "b", "a", "a: out of memory", "b", "b"]
    assert workers == {"b": "b"}
    assert list(found) == ["b"]


def test_when_the_time_ends_only_whole_rounds_count() -> None:
    _, found = turns_taken({"a": "a", "b": "b"}, 3, {("b", 1): OutOfTimeError()})
    assert found == {"a": [Turn(value=0)], "b": [Turn(value=0)]}
    assert turns_taken({"a": "a"}, 3, {("a", 0): OutOfTimeError()})[1] == {}


def test_one_round_is_always_begun_and_all_are_where_there_is_time() -> None:
    assert list(Clock(0.0).rounds(5, 1.0)) == [0]
    assert list(Clock(1e9).rounds(5, 1.0)) == [0, 1, 2, 3, 4]


@given(POSITIVE, POSITIVE, st.lists(POSITIVE, min_size=1, max_size=9))
def test_a_machine_that_slows_down_in_some_rounds_changes_no_ratio(
    ours: float, theirs: float, slowness: list[float]
) -> None:
    ratio = paired_ratio([ours / each for each in slowness], [theirs / each for each in slowness])
    assert math.isclose(ratio, ours / theirs)


@given(st.lists(POSITIVE, min_size=1), st.integers(1, 99))
def test_a_percentile_is_that_of_numpy(values: list[float], percent: int) -> None:
    assert math.isclose(percentile(values, percent), np.percentile(values, percent))


@given(POSITIVE, st.integers(1, 1000), POSITIVE, st.integers(1, 40), st.integers(1, 5000))
def test_turns_are_filled_with_whole_batches_of_the_texts_there_are(
    seconds: float, measured: int, took: float, least: int, most: int
) -> None:
    found = texts_for(seconds, measured, took, least=least, most=most)
    assert 1 <= found <= most
    assert found % least == 0 or found == most
    assert found <= max(least, measured * seconds / took)


def comparison(*, lower_is_better: bool, **values: list[float]) -> Comparison:
    names = {name: name.replace("_", " ") for name in values}
    turns = {
        names[name]: [Turn(value=value, tail=2 * value) for value in each]
        for name, each in values.items()
    }
    return Comparison(lower_is_better=lower_is_better, n_texts=dict.fromkeys(turns, 1), turns=turns)


def results(**comparisons: Comparison) -> Results:
    return Results(
        machine={"processor": "made up"}, text="made up", options={}, comparisons=comparisons
    )


def test_the_better_of_the_transformers_counts_whether_more_or_less_is_better() -> None:
    fast = comparison(
        lower_is_better=False,
        teddy=[90.0],
        spacy=[30.0],
        transformer_bf16=[3.0],
        transformer_fp32=[2.0],
    )
    slow = comparison(
        lower_is_better=True,
        teddy=[1.0],
        spacy=[2.0],
        transformer_bf16=[50.0],
        transformer_fp32=[20.0],
    )
    assert glance(results(many=fast, one=slow)) == {
        "many: times as fast as spaCy": 3.0,
        "many: times as fast as the transformer": 30.0,
        "one: times as fast as spaCy": 2.0,
        "one: times as fast as the transformer": 20.0,
    }


def test_tables_show_every_contender_and_what_was_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = results(
        many=comparison(lower_is_better=False, teddy=[100.0, 300.0], spacy=[50.0, 100.0])
    )
    found.notes.append("transformer: left out: [why]")
    print_report(found, Console(width=100))
    printed = capsys.readouterr().out
    rows = {line.split()[1]: line.split()[3:] for line in printed.splitlines() if "%" in line}
    assert {name: (row[0], row[2]) for name, row in rows.items()} == {
        "teddy": ("200", "1.00"),
        "spacy": ("75", "2.50"),
    }
    assert "transformer: left out: [why]" in printed
    assert found.fields()["many"]["spacy"]["teddy_is_times_as_fast"] == 2.5


def test_a_contender_that_is_not_installed_is_left_out_with_the_extra_that_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(entrants, "find_spec", lambda _: None)
    notes: list[str] = []
    found = entrants.prepare(
        entrants.DEFAULT, None, tmp_path / "no.jsonl", tmp_path, Clock(60.0), notes.append
    )
    assert [each.name for each in found] == ["teddy", "teddy fp32"]
    assert [each.precision for each in found] == ["auto", "fp32"]
    assert [(note.split(":")[0], note.rpartition("[")[2]) for note in notes] == [
        ("spacy", "bench]'"),
        ("transformer", "bench]'"),
        ("teddy onnx", "onnx]'"),
    ]


def test_growing_texts_never_repeat_and_a_size_for_which_there_is_no_time_is_left_out(
    tmp_path: Path,
) -> None:
    read: list[str] = []

    def ask(operation: str, *, file: str, limit_seconds: float) -> dict[str, Any]:
        assert operation == "tag_file"
        assert limit_seconds >= 1.0
        given = list(read_texts(file))
        read.extend(given)
        n_bytes = sum(len(text) + 1 for text in given)
        # At this speed the next size would take a day.
        seconds = 1000.0 if n_bytes > MEGABYTE / 2 else 0.1
        return {
            "seconds": seconds,
            "bytes": n_bytes,
            "words": len(given),
            "entities": 0,
            "resident": 1,
        }

    numbered: Iterator[str] = (f"{number:099}" for number in range(10**9))
    found = list(stages(ask, numbered, (1, 100), tmp_path / "growth.jsonl", Clock(600.0)))
    assert len(set(read)) == len(read) == found[-1].words_so_far
    assert len(found) == 2


@pytest.mark.slow
def test_a_worker_finds_what_its_model_finds(
    tiny_model: Path, tiny_predictor: Predictor, tmp_path: Path
) -> None:
    sentences = ["Anna Berg went to Oslo.", "Nobody was there.", "Mira met Otto Lind in New Haven."]
    texts_file = write_texts(sentences, tmp_path / "texts.jsonl")
    entrant = Entrant(name="teddy", kind="teddy", path=str(tiny_model))
    worker = Worker(entrant, cores()[:1], tmp_path, Clock(300.0))
    try:
        answer = worker.ask("tag", file=str(texts_file.file), n_texts=3)
        assert answer["entities"] == sum(map(len, tiny_predictor.tag(sentences)))
        assert answer["words"] == answer["words_there"] == 15
        assert (
            len(worker.ask("tag_singly", file=str(texts_file.file), n_texts=2, skip=1)["each"]) == 2
        )
        streamed = worker.ask("tag_file", file=str(texts_file.file), limit_seconds=100.0)
        assert (streamed["entities"], streamed["words"]) == (answer["entities"], 15)
        shared = worker.ask("share", file=str(texts_file.file), n_texts=3)
        assert shared["network"] > 0
    finally:
        worker.stop()


GUM = """\
1 Smith PROPN NNP 4 nsubj (1-organization-new-n-cf1-1-sgl
2 & CCONJ CC 3 cc _
3 Sons PROPN NNPS 1 conj 1)
4 met VERB VBD 0 root _
5 Ada PROPN NNP 4 obj (2-person-new-n-cf1-1-sgl(3-person-new-n-cf2-1-sgl)
6 and CCONJ CC 7 cc _
7 Bob PROPN NNP 5 conj (4-person-new-n-cf3-1-sgl)2)
8 in ADP IN 9 case _
9 Sweden PROPN NNP 4 obl (5-organization-new-n-cf4-1-sgl-Sweden)

1 The DET DT 2 det (1-person-new-n-cf1-4-sgl(2-organization-new-n-cf2-1-sgl
2 agency NOUN NN 5 nmod:poss _
3 's PART POS 2 case 2)
4 director NOUN NN 5 nmod:desc _
5 Ada PROPN NNP 7 nsubj _
6 Lovelace PROPN NNP 5 flat 1)
7 left VERB VBD 0 root _
8 Ubuntu PROPN NNP 7 obj (3-abstract-new-n-cf3-1-sgl-Ubuntu)
9 in ADP IN 10 case _
10 May PROPN NNP 7 obl (4-time-new-n-cf4-1-sgl)
"""


def test_the_name_in_a_mention_is_the_proper_noun_at_its_head(tmp_path: Path) -> None:
    path = tmp_path / "gum.conllu"
    rows = (line.split() for line in GUM.splitlines())
    lines = [
        "\t".join([row[0], row[1], "_", *row[2:4], "_", *row[4:6], "_", f"Entity={row[6]}"])
        if row
        else ""
        for row in rows
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    names = [gum.tags(words, set(), frozenset({"Sweden"})) for words in gum.sentences(path)]
    assert names == [
        ["B-ORG", "I-ORG", "I-ORG", "O", "B-PER", "O", "B-PER", "O", "B-LOC"],
        ["O", "O", "O", "O", "B-PER", "I-PER", "O", "B-UNSURE", "O", "O"],
    ]
