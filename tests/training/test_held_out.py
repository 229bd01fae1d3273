from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.text.words import Tokeniser
from teddy.training.data.align import align
from teddy.training.data.holdout import HeldOut
from teddy.training.data.readers import Example


def example(document: int, n_words: int) -> Example:
    text = " ".join([f"d{document}", *["w"] * (n_words - 1)])
    return Example(
        text=text,
        spans=(),
        span_lines=(),
        path="a",
        line=document + 1,
        is_sentence=True,
        document=document,
    )


@given(st.lists(st.integers(1, 9), max_size=80), st.integers(9, 60))
def test_too_many_documents_are_thinned_out_evenly(lengths: list[int], most_words: int) -> None:
    held_out = HeldOut(most_words)
    for document, n_words in enumerate(lengths):
        one = example(document, n_words)
        held_out.add(one, align(one, "a", Tokeniser(), lambda _: None))
    kept = [int(sentence.words[0][1:]) for sentence in held_out.sentences]
    distance = kept[1] if len(kept) > 1 else max(len(lengths), 1)
    assert kept == list(range(0, len(lengths), distance))
    assert sum(lengths[document] for document in kept) <= most_words
    assert held_out.n_dropped == len(lengths) - len(kept)
    if sum(lengths) <= most_words:
        assert held_out.n_dropped == 0


@pytest.mark.parametrize("n_documents", [3, 40])
def test_a_document_is_kept_or_dropped_as_a_whole(n_documents: int, tmp_path: Path) -> None:
    held_out = HeldOut(20)
    for document in range(n_documents):
        for _ in range(2):
            one = example(document, 3)
            held_out.add(one, align(one, str(tmp_path), Tokeniser(), lambda _: None))
    kept = [sentence.words[0] for sentence in held_out.sentences]
    assert kept[::2] == kept[1::2]
