from pathlib import Path
from typing import Any

import pytest

from teddy.model.errors import DataError
from teddy.model.tags.spans import Scheme, Span
from teddy.model.text.words import Tokeniser
from teddy.training.data.named_file import file_config, load_file


def test_what_is_not_stated_is_guessed_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "eng.testa"
    path.write_text("Ada N I-PER x\nBay N B-PER x\nspoke V O x\n")
    (sentence,) = load_file(path, ["PER"], Tokeniser()).dev
    assert sentence.spans == (Span(0, 1, "PER"), Span(1, 2, "PER"))
    stated = file_config(path, ["PER"], scheme=Scheme.BIOES, tag=-1, annotates=("PER",))
    assert (stated.scheme, stated.tag, stated.annotates) == (Scheme.BIOES, -1, ("PER",))


def test_a_file_is_read_as_its_fields_say(tmp_path: Path) -> None:
    path = tmp_path / "odd [name]*.conll"
    path.write_text("I-person Ada x\nI-person Bay x\nO spoke x\n", encoding="cp1252")
    corpus = load_file(
        path,
        ["PER"],
        Tokeniser(),
        token=1,
        tag=0,
        scheme=Scheme.IOB1,
        encoding="cp1252",
        label_map={"person": "PER"},
    )
    (sentence,) = corpus.dev
    assert sentence.words == ("Ada", "Bay", "spoke")
    assert sentence.spans == (Span(0, 2, "PER"),)
    assert corpus.train == []


def test_a_label_that_the_model_lacks_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Ada B-PER\n\nOslo B-GPE\n")
    with pytest.raises(DataError, match=r"a\.conll:3: label 'GPE' is neither"):
        load_file(tmp_path / "a.conll", ["PER", "LOC"], Tokeniser())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token": "Word"}, "no column 'Word': the file has no header"),
        ({"encoding": "klingon"}, "encoding: unknown"),
        ({"label_map": {"A": "B"}}, "map.A: 'B'"),
    ],
)
def test_fields_that_make_no_sense_are_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.conll").write_text("Ada B-PER\n")
    with pytest.raises(DataError, match=message):
        load_file(tmp_path / "a.conll", ["PER"], Tokeniser(), **change)
