import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.training.data.align import Misaligned
from teddy.training.data.corpora import Corpus, load_corpora
from teddy.training.recipe.corpus_config import CorpusConfig
from teddy.training.recipe.recipe import Recipe

Load = Callable[..., Corpus]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_one(options: dict[str, Any], **files: str) -> Corpus:
        """Load a corpus of these options from files of these texts, with the labels PER and LOC."""
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        options = {
            "name": "letters",
            "licence": "CC0",
            "train": ("train",),
            "dev": ("dev",),
        } | options
        recipe = Recipe(name="x", labels=("PER", "LOC"), corpus=(CorpusConfig(**options),))
        [corpus] = load_corpora(recipe, tmp_path)
        return corpus

    return load_one


def test_train_and_dev_are_read_with_what_the_recipe_says_of_them(load: Load) -> None:
    corpus = load(
        {"annotates": ("PER",), "weight": 2.0, "source": "an attic"},
        train="Ada B-PER\n",
        dev="Bo O\n\nCy O\n",
    )
    assert (corpus.name, corpus.licence, corpus.source) == ("letters", "CC0", "an attic")
    assert (corpus.annotates, corpus.weight) == (frozenset({"PER"}), 2.0)
    assert [sentence.words for sentence in corpus.train] == [("Ada",)]
    assert [sentence.words for sentence in corpus.dev] == [("Bo",), ("Cy",)]
    assert load({}, train="Ada B-PER\n", dev="Bo O\n").annotates == {"PER", "LOC"}


def test_labels_are_mapped_dropped_or_made_unknown(load: Load) -> None:
    options = {"map": {"person": "PER", "date": "O", "thing": "?"}}
    text = "Ada B-person\nsaw O\nRome B-LOC\nMonday B-date\nSphinx B-thing\n"
    [sentence] = load(options, train=text, dev="Bo O\n").train
    assert sentence.spans == (Span(0, 1, "PER"), Span(2, 3, "LOC"))
    assert sentence.unknown == ((4, 5),)
    assert sentence.misaligned == ()


@pytest.mark.parametrize(("sentences", "n_sentences"), [("document", 1), ("lines", 2)])
def test_each_line_of_a_document_is_a_sentence_where_the_corpus_says_so(
    load: Load, sentences: str, n_sentences: int
) -> None:
    text = json.dumps({"text": "and then we met old Ada\nBerg on the way", "spans": []})
    options = {"format": "jsonl", "sentences": sentences}
    assert len(load(options, train=text, dev=text).train) == n_sentences


def test_a_rule_goes_before_the_map(load: Load) -> None:
    options = {
        "map": {"person": "PER"},
        "rules": (
            {"label": "person", "text": "(?i)the .*", "to": "O"},
            {"label": "LOC", "text": "Rome", "to": "?"},
        ),
    }
    text = "The B-person\nQueen I-person\nsaw O\nAda B-person\nRome B-LOC\nRomeo B-LOC\n"
    [sentence] = load(options, train=text, dev="Bo O\n").train
    assert sentence.spans == (Span(3, 4, "PER"), Span(5, 6, "LOC"))
    assert sentence.unknown == ((4, 5),)


def test_a_label_that_the_recipe_does_not_know_is_an_error_with_its_line(load: Load) -> None:
    with pytest.raises(DataError) as caught:
        load({}, train="Ada B-PER\n\nand O\nRome B-LOK\n", dev="Bo O\n")
    assert caught.value.line == 4
    assert (
        "label 'LOK' is neither in labels nor in the map of corpus 'letters'; did you mean LOC?"
        in str(caught.value)
    )


def test_all_labels_that_the_recipe_does_not_know_are_told_at_once(load: Load) -> None:
    text = "Ada B-PER\nRome B-LOK\n\nBo B-PRS\n\nUlm B-LOK\nOslo B-TOWN\n"
    with pytest.raises(DataError, match=r"label 'LOK' is neither .*; nor are 'PRS', 'TOWN'$"):
        load({}, train=text, dev="Bo O\n")


@pytest.mark.parametrize(
    ("share", "held_out"), [(0.25, [3, 7]), (0.5, [1, 3, 5, 7, 9]), (0.05, []), (0.1, [9])]
)
def test_held_out_sentences_stand_at_even_distances(
    load: Load, share: float, held_out: list[int]
) -> None:
    text = "\n".join(f"w{number} O\n" for number in range(10))
    corpus = load({"dev": (), "holdout": share}, train=text)
    assert [sentence.words[0] for sentence in corpus.dev] == [f"w{number}" for number in held_out]
    assert len(corpus.train) + len(corpus.dev) == 10


def test_a_document_is_held_out_as_a_whole(load: Load) -> None:
    lines = [json.dumps({"text": f"w{n} came. W{n} left.", "entities": []}) for n in range(4)]
    corpus = load({"format": "jsonl", "dev": (), "holdout": 0.5}, train="\n".join(lines))
    assert [sentence.words[0] for sentence in corpus.dev] == ["w1", "W1", "w3", "W3"]


def test_misaligned_spans_are_told_and_missing_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": "Adams", "entities": [[0, 3, "PER"]]}', encoding="utf-8"
    )
    told: list[Misaligned] = []
    config = CorpusConfig(
        name="a", licence="CC0", format="jsonl", train=("*.jsonl",), dev=("a.jsonl",)
    )
    recipe = Recipe(name="x", labels=("PER",), corpus=(config,))
    load_corpora(recipe, tmp_path, on_misaligned=told.append)
    assert [(report.line, report.text) for report in told] == [(1, "Ada")] * 2
    with pytest.raises(DataError, match="no such file"):
        load_corpora(recipe, tmp_path / "elsewhere", on_misaligned=told.append)
