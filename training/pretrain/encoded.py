"""Running text as numbers on disk, made once by `training.pretrain.prepare` and memory-mapped ever after.

text.u32          the number of each word, sentence after sentence; 0 is the most frequent word
lengths.u32       the number of words of each sentence
types.txt         the distinct words, one a line, by number
counts.i64        how often each occurs in the sentences that are learnt from
rows.i32          the feature rows of the distinct words, one word after another
row_starts.i64    where each word's rows begin, and where the last one's end
pieces.model      the sentencepiece model
words.txt         the words that have a row of their own
corpus.json       what all this was made from, and how much it is
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import DataError

FORMAT = 1


class EncodedCorpus:
    """The files of one folder. Letters: N words, S sentences, V distinct words (types), U types of a batch."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError when the folder is not a whole encoded corpus of this version."""
        self.folder = folder
        self.description = _describe(folder)
        self.text: NDArray[np.uint32] = _mapped(folder / "text.u32", "<u4", self.description["n_words"])
        lengths = _mapped(folder / "lengths.u32", "<u4", self.description["n_sentences"])
        self.lengths: NDArray[np.int64] = lengths.astype(np.int64)
        self.starts: NDArray[np.int64] = np.cumsum(self.lengths) - self.lengths
        """Int64 [S]: where each sentence begins in `text`."""
        n_types = self.description["n_types"]
        self.counts: NDArray[np.int64] = np.asarray(_mapped(folder / "counts.i64", "<i8", n_types))
        self._rows: NDArray[np.int32] = _mapped(folder / "rows.i32", "<i4", self.description["n_rows"])
        self._row_starts: NDArray[np.int64] = np.asarray(_mapped(folder / "row_starts.i64", "<i8", n_types + 1))
        self.pieces: bytes = (folder / "pieces.model").read_bytes()
        self.words: tuple[str, ...] = tuple(read_words(folder / "words.txt"))

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Bool [S]: which sentences are not learnt from."""
        return is_held_out(len(self.lengths), self.description["settings"]["held_out_every"])

    def types(self) -> list[str]:
        """The distinct words, by number."""
        return read_words(self.folder / "types.txt")

    def sentences(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """The words of sentences of one length T. Shape: int64 [B] -> int64 [B, T]."""
        length = int(self.lengths[members[0]])
        words: NDArray[np.int64] = self.text[self.starts[members][:, None] + np.arange(length)].astype(np.int64)
        return words

    def bag(self, types: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What `WordFeatures.bag` gives for these words: rows [F] and starts [U], for types [U]."""
        first = self._row_starts[types]
        counts = self._row_starts[types + 1] - first
        starts = np.cumsum(counts) - counts
        places = np.arange(int(counts.sum())) + np.repeat(first - starts, counts)
        return self._rows[places].astype(np.int64), starts


def is_held_out(n_sentences: int, every: int, first: int = 0) -> NDArray[np.bool_]:
    """Whether each of so many sentences, of which the first has the number `first`, is held out: every n-th is."""
    held_out: NDArray[np.bool_] = np.arange(first, first + n_sentences) % every == 0
    return held_out


def write_words(path: Path, words: list[str]) -> None:
    """Writes words, of which none holds a line break, one a line."""
    path.write_bytes("".join(f"{word}\n" for word in words).encode())


def read_words(path: Path) -> list[str]:
    """What `write_words` wrote."""
    return path.read_bytes().decode().split("\n")[:-1]


def _describe(folder: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((folder / "corpus.json").read_bytes())
    except (FileNotFoundError, ValueError):
        raise DataError(folder, None, "not a whole encoded corpus: it has no readable corpus.json") from None
    if description.get("format") != FORMAT:
        raise DataError(folder, None, f"not an encoded corpus of format {FORMAT}")
    return description


def _mapped(path: Path, kind: str, size: int) -> NDArray[Any]:
    wanted = size * np.dtype(kind).itemsize
    found = path.stat().st_size if path.exists() else 0
    if found != wanted:
        raise DataError(path, None, f"damaged: it has {found:,} bytes instead of {wanted:,}")
    return np.memmap(path, dtype=kind, mode="r")
