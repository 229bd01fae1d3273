"""A sentence as a line of JSON: some ten bytes a word, where its objects in memory take two hundred.

    [text, borders, spans, unknown, misaligned, path, line]

`borders` are where words begin and end, each as its distance from the one before; words are what lies between. `path`
is a number, since thousands of sentences come from one file.
"""

import json
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise

from teddy.model.spans import Span
from teddy.training.corpus.align import Sentence


def pack(sentence: Sentence, path: int) -> bytes:
    """The line, its end included; `path` is the number of the sentence's file.

    Raises ValueError for words that are not those of the text at their offsets.
    """
    if sentence.words != tuple(sentence.text[start:end] for start, end in sentence.offsets):
        raise ValueError("words are not what the text has at their offsets")
    borders = [0, *chain.from_iterable(sentence.offsets)]
    record = (
        sentence.text,
        [end - start for start, end in pairwise(borders)],
        [(span.start, span.end, span.label) for span in sentence.spans],
        sentence.unknown,
        [(span.start, span.end, span.label) for span in sentence.misaligned],
        path,
        sentence.line,
    )
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def unpack(record: bytes | memoryview, corpus: str, paths: Sequence[str]) -> Sentence:
    """The sentence of a corpus that `pack` made a line of."""
    text, distances, spans, unknown, misaligned, path, line = json.loads(str(record, "utf-8"))
    borders = list(accumulate(distances))
    offsets = tuple(zip(borders[::2], borders[1::2], strict=True))
    return Sentence(
        words=tuple([text[start:end] for start, end in offsets]),
        offsets=offsets,
        spans=tuple([Span(*span) for span in spans]),
        unknown=tuple([(start, end) for start, end in unknown]),
        misaligned=tuple([Span(*span) for span in misaligned]),
        corpus=corpus,
        text=text,
        path=paths[path],
        line=line,
    )
