"""Training sentences in blocks: in memory while they are few, in a folder on disk when they are many.

sentences         the blocks, one after another: words of each sentence (uint32), bytes of each (uint32), packed lines
blocks.i64        a row of `COLUMNS` for each block
store.json        the files that the sentences come from, and what else their reader wants to know

Memory is what is asked for and a row for each block, however many sentences there are. What is read from disk is
compared with a checksum.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, overload
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from teddy.model.errors import DataError
from teddy.training.corpus.align import Sentence
from teddy.training.corpus.packed import unpack

FORMAT = 1

COLUMNS = ("part", "offset", "n_bytes", "n_sentences", "n_words", "checksum")
_PART, _OFFSET, _BYTES, _SENTENCES, _WORDS, _CHECKSUM = range(len(COLUMNS))
_NUMBER_BYTES = 4


class Content(Protocol):
    """The bytes of all blocks, wherever they are."""

    name: Path
    decays: bool
    """Whether what is read may differ from what was written."""

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """So many bytes from there on; fewer at the end."""
        ...


class InMemory:
    """Bytes that nobody else can touch."""

    name = Path()
    decays = False

    def __init__(self, content: bytearray) -> None:
        self._content = memoryview(content).toreadonly()

    def read(self, offset: int, size: int) -> memoryview:
        """See `Content`."""
        return self._content[offset : offset + size]


class OnDisk:
    """A file. It is opened for each reading, which costs a block next to nothing, and leaves nothing to close."""

    decays = True

    def __init__(self, path: Path) -> None:
        self.name = path

    def read(self, offset: int, size: int) -> bytes:
        """See `Content`."""
        with self.name.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size)


class Block:
    """The sentences of a block, packed until they are asked for."""

    def __init__(self, lines: memoryview, ends: NDArray[np.int64], corpus: str, paths: Sequence[str]) -> None:
        self._lines = lines
        self._ends = ends
        self._corpus = corpus
        self._paths = paths

    def __len__(self) -> int:
        return len(self._ends)

    def sentence(self, number: int) -> Sentence:
        """The sentence of this number, counted from 0."""
        start = int(self._ends[number - 1]) if number else 0
        return unpack(self._lines[start : int(self._ends[number])], self._corpus, self._paths)


class Blocks:
    """Blocks that can be read, each by itself. Each is of one part: a number, which stands for a list of sentences."""

    def __init__(self, table: NDArray[np.int64], content: Content, paths: Sequence[str]) -> None:
        """`paths` are the files that the sentences come from."""
        self._table = table
        self._content = content
        self._paths = paths

    @property
    def parts(self) -> NDArray[np.int64]:
        """Int64 [blocks]: which part each belongs to."""
        return self._table[:, _PART]

    @property
    def n_sentences(self) -> NDArray[np.int64]:
        """Int64 [blocks]."""
        return self._table[:, _SENTENCES]

    @property
    def n_words(self) -> NDArray[np.int64]:
        """Int64 [blocks]."""
        return self._table[:, _WORDS]

    def lengths(self, number: int) -> NDArray[np.uint32]:
        """The words of each sentence of a block."""
        row = self._table[number]
        content = self._content.read(int(row[_OFFSET]), _NUMBER_BYTES * int(row[_SENTENCES]))
        return np.frombuffer(content, dtype="<u4")

    def read(self, number: int, corpus: str) -> Block:
        """A block; its sentences are of the corpus of this name. Raises DataError for one that is damaged."""
        row = self._table[number]
        content = self._content.read(int(row[_OFFSET]), int(row[_BYTES]))
        if self._content.decays and crc32(content) != row[_CHECKSUM]:
            reason = f"damaged: block {number} is not as it was written; remove the file, and all is read anew"
            raise DataError(self._content.name, None, reason)
        n_sentences = int(row[_SENTENCES])
        sizes = np.frombuffer(content, dtype="<u4", count=n_sentences, offset=_NUMBER_BYTES * n_sentences)
        lines = memoryview(content)[2 * _NUMBER_BYTES * n_sentences :]
        return Block(lines, np.cumsum(sizes, dtype=np.int64), corpus, self._paths)


class StoredSentences(Sequence[Sentence]):
    """The sentences of one part, read when they are asked for; cheap in order, a whole block for each at random."""

    def __init__(self, blocks: Blocks, part: int, corpus: str) -> None:
        self.blocks = blocks
        self.part = part
        self.corpus = corpus
        self._numbers = np.flatnonzero(blocks.parts == part)
        self._ends = np.cumsum(blocks.n_sentences[self._numbers])

    @property
    def n_words(self) -> int:
        """Of all the sentences."""
        return int(self.blocks.n_words[self._numbers].sum())

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __iter__(self) -> Iterator[Sentence]:
        for number in self._numbers.tolist():
            block = self.blocks.read(number, self.corpus)
            yield from map(block.sentence, range(len(block)))

    @overload
    def __getitem__(self, index: int) -> Sentence: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sentence]: ...
    def __getitem__(self, index: int | slice) -> Sentence | list[Sentence]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        place = range(len(self))[index]
        at = int(np.searchsorted(self._ends, place, side="right"))
        first = int(self._ends[at - 1]) if at else 0
        return self.blocks.read(int(self._numbers[at]), self.corpus).sentence(place - first)


def describe(folder: Path) -> dict[str, Any]:
    """What `store.json` says; nothing where there is no whole store of this version."""
    try:
        description: dict[str, Any] = json.loads((folder / "store.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    is_whole = description.get("format") == FORMAT and description["sizes"] == sizes_of(folder)
    return description if is_whole else {}


def sizes_of(folder: Path) -> dict[str, int]:
    """The bytes of the files of a store, for its description."""
    return {name: path.stat().st_size for name in ("sentences", "blocks.i64") if (path := folder / name).exists()}


def open_blocks(folder: Path) -> Blocks:
    """The blocks of a whole store on disk."""
    table = np.fromfile(folder / "blocks.i64", dtype="<i8").reshape(-1, len(COLUMNS))
    return Blocks(table, OnDisk(folder / "sentences"), describe(folder)["paths"])
