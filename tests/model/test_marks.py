"""Entities marked in their text, as HTML."""

import copy
import html
import pickle
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.predictor import Predictor
from teddy.model.text.documents import Entities, Entity
from teddy.model.text.marks import PALETTE, colour_of, ground_of, mark

Shell = Callable[..., tuple[int, str, str]]
HOSTILE = "<script>alert(1)</script>\r\n&lt; \u202e'\"\0 \U0001f9f8\t"


class Reader(HTMLParser):
    """Read marked HTML back: the text without labels, and what is marked with which label."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.marked: list[tuple[str, str]] = []
        self.elements: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self._open.append(tag)
        if tag == "mark":
            self.marked.append(("", ""))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1] == "small":
            self.marked[-1] = (self.marked[-1][0], self.marked[-1][1] + data)
            return
        self.text += data
        if self._open[-1] == "mark":
            self.marked[-1] = (self.marked[-1][0] + data, self.marked[-1][1])


@st.composite
def tagged(draw: st.DrawFn) -> Entities:
    characters = st.one_of(st.sampled_from(HOSTILE), st.characters(exclude_categories=["Cs"]))
    text = draw(st.text(characters, max_size=60))
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    labels, scores = st.text(characters, min_size=1, max_size=8), st.floats(0, 1)
    return Entities(
        text,
        [
            Entity(start, end, draw(labels), draw(scores), text[start:end])
            for start, end in zip(places[::2], places[1::2], strict=False)
        ],
    )


@given(tagged())
def test_marked_html_holds_the_text_and_the_entities_and_no_element_of_the_text(
    entities: Entities,
) -> None:
    read = Reader(entities.to_html())
    assert read.text == entities.text
    assert read.marked == [(each.text, each.label) for each in entities]
    assert set(read.elements) <= {"div", "mark", "small"}
    assert entities._repr_html_() == entities.to_html()


@given(
    st.lists(st.text("ab<\U0001f9f8", min_size=1, max_size=4), min_size=1, max_size=6), st.data()
)
def test_entities_of_words_are_marked_in_the_text_that_the_words_make(
    words: Sequence[str], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    said = " ".join(words[start:end])
    read = Reader(mark(words, [Entity(start, end, "PER", 0.5, said)]))
    assert (read.text, read.marked) == (" ".join(words), [(said, "PER")])


def test_a_lone_surrogate_is_replaced_so_that_the_html_can_be_written() -> None:
    assert "a\ufffdb" in mark("a\ud800b", [])


def test_a_colour_is_stronger_the_higher_the_score_and_one_label_has_one() -> None:
    assert ground_of("PER", 1.0) == PALETTE[colour_of("per")][0]
    sums = [sum(bytes.fromhex(ground_of("PER", score / 10)[1:])) for score in range(11)]
    assert sums == sorted(sums, reverse=True)
    assert len(set(sums)) == 11
    assert len({colour_of(f"label {i}") for i in range(100)}) == len(PALETTE)


def test_a_predictor_gives_entities_that_know_their_text(tiny_predictor: Predictor) -> None:
    text = "Anna Berg went to Oslo ."
    entities, of_words = tiny_predictor.tag([text, text.split()])
    assert isinstance(entities, list)
    assert (entities.text, of_words.text) == (text, text.split())
    assert Reader(entities.to_html()).marked == [("Anna Berg", "PER"), ("Oslo", "LOC")]
    assert Reader(of_words.to_html()).marked == Reader(entities.to_html()).marked
    again = pickle.loads(pickle.dumps(entities))  # noqa: S301
    for other in (copy.copy(entities), copy.deepcopy(entities), again):
        assert (other, other.to_html()) == (entities, entities.to_html())


def test_the_command_writes_a_page_of_a_text_or_of_a_file(
    shell: Shell, tiny_model: Path, tmp_path: Path
) -> None:
    page, text = tmp_path / "page.html", "Anna Berg went to Oslo & <b>"
    assert shell("tag", "--model", tiny_model, text, "--html", page) == (0, "", "")
    one = page.read_text(encoding="utf-8")
    assert one.startswith("<!doctype html>")
    assert "default-src 'none'" in one
    body = re.sub(r"<small.*?</small>", "", one[one.index("<div") :])
    assert html.unescape(re.sub(r"<[^>]*>", "", body)).strip() == text
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{text}\nNobody was there .\n")
    code, out, _ = shell("tag", "--model", tiny_model, "--input", lines, "--html", "-")
    assert code == 0
    assert out.count("<div") == 2
    assert out.splitlines()[:12] == one.splitlines()[:12], "of one text as of many"
    records = tmp_path / "records.jsonl"
    records.write_text('{"said": ["Mira", "slept"]}\n{"said": 1}\n')
    options = ("--input", records, "--text-field", "said", "--html", page)
    assert shell("tag", "--model", tiny_model, *options)[0] == 1
    assert "Mira" in page.read_text(encoding="utf-8")
    assert "<p><em>no &quot;said&quot;" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "options",
    [("a", "--json"), ("a", "--output", "b"), ("--input", "a.conll"), ("--input", "a.parquet")],
)
def test_a_page_that_cannot_be_is_refused(shell: Shell, options: tuple[str, ...]) -> None:
    code, _, said = shell("tag", *options, "--html", "page.html")
    assert code == 2
    assert "--html" in said
