"""Training sentences in blocks: in memory while they are few, else in a folder on disk.

On disk a collection is a folder:

    sentences         the blocks, one after another: words of each sentence (uint32),
                      bytes of each (uint32), packed lines
    blocks.i64        a row of `COLUMNS` for each block
    store.json        the files of the sentences, and what else their reader stores

Memory is what is asked for and a row for each block, however many sentences there are. What is read
from disk is compared with a checksum.

Packed, a sentence is a line of JSON, some ten bytes a word instead of two hundred in memory:

    [text, borders, spans, unknown, misaligned, path, line, tokeniser]

`borders` are where words begin and end, each as its distance from the one before; words are what
the tokeniser reads of what lies between. `path` is a number: thousands of sentences have one file.
"""

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any, BinaryIO, overload
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.learning.torch_setup import generator

FORMAT = 2
COLUMNS = ("part", "offset", "n_bytes", "n_sentences", "n_words", "checksum")
_PART, _OFFSET, _BYTES, _SENTENCES, _WORDS, _CHECKSUM = range(len(COLUMNS))
_NUMBER_BYTES = 4


def pack(sentence: Sentence, path: int) -> bytes:
    """Return the line, its end included; `path` is the number of the sentence's file.

    Raises ValueError for words that are not those of the text at their offsets.
    """
    rules, text = sentence.tokeniser, sentence.text
    if sentence.words != tuple(rules.read(text[start:end]) for start, end in sentence.offsets):
        raise ValueError("words are not what the text has at their offsets")
    borders = [0, *chain.from_iterable(sentence.offsets)]
    record = (
        text,
        [end - start for start, end in pairwise(borders)],
        [(span.start, span.end, span.label) for span in sentence.spans],
        sentence.unknown,
        [(span.start, span.end, span.label) for span in sentence.misaligned],
        path,
        sentence.line,
        (rules.version, rules.language),
    )
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def unpack(record: bytes | memoryview, corpus: str, paths: Sequence[str]) -> Sentence:
    """Return the sentence of a corpus that `pack` made a line of."""
    text, distances, spans, unknown, misaligned, path, line, rules = json.loads(bytes(record))
    tokeniser = Tokeniser(*rules)
    borders = accumulate(distances)
    offsets = tuple(zip(borders, borders, strict=True))
    return Sentence(
        words=tuple([tokeniser.read(text[start:end]) for start, end in offsets]),
        offsets=offsets,
        spans=tuple([Span(*span) for span in spans]),
        unknown=tuple([(start, end) for start, end in unknown]),
        misaligned=tuple([Span(*span) for span in misaligned]),
        corpus=corpus,
        text=text,
        path=paths[path],
        line=line,
        tokeniser=tokeniser,
    )


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of all blocks, in memory or in a file.

    A file is opened for each reading, which costs a block next to nothing, and leaves nothing to
    close.
    """

    source: memoryview | Path

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return so many bytes from there on; fewer at the end."""
        if not isinstance(self.source, Path):
            return self.source[offset : offset + size]
        with self.source.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size)


class Block:
    """The sentences of a block, packed until they are asked for."""

    def __init__(
        self, lines: memoryview, ends: NDArray[np.int64], corpus: str, paths: Sequence[str]
    ) -> None:
        self._lines = lines
        self._ends = ends
        self._corpus = corpus
        self._paths = paths

    def __len__(self) -> int:
        return len(self._ends)

    def sentence(self, number: int) -> Sentence:
        """Return the sentence of this number, counted from 0."""
        start = int(self._ends[number - 1]) if number else 0
        return unpack(self._lines[start : int(self._ends[number])], self._corpus, self._paths)


class Blocks:
    """Blocks that can be read, each by itself.

    Each is of one part: a number, which stands for a list of sentences.
    """

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
        """Return the words of each sentence of a block."""
        row = self._table[number]
        content = self._content.read(int(row[_OFFSET]), _NUMBER_BYTES * int(row[_SENTENCES]))
        return np.frombuffer(content, dtype="<u4")

    def read(self, number: int, corpus: str) -> Block:
        """Return a block; its sentences are of the corpus of this name.

        Raises DataError for one that is damaged.
        """
        row = self._table[number]
        content = self._content.read(int(row[_OFFSET]), int(row[_BYTES]))
        source = self._content.source
        if isinstance(source, Path) and crc32(content) != row[_CHECKSUM]:
            reason = f"damaged: block {number} is not as it was written"
            raise DataError(source, None, f"{reason}; remove the file, to read all again")
        n_sentences = int(row[_SENTENCES])
        sizes = np.frombuffer(
            content, dtype="<u4", count=n_sentences, offset=_NUMBER_BYTES * n_sentences
        )
        lines = memoryview(content)[2 * _NUMBER_BYTES * n_sentences :]
        return Block(lines, np.cumsum(sizes, dtype=np.int64), corpus, self._paths)


class StoredSentences(Sequence[Sentence]):
    """The sentences of one part, read on demand: cheap in order, a whole block each at random."""

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
    """Return what `store.json` says; nothing where there is no whole store of this version."""
    try:
        description: dict[str, Any] = json.loads((folder / "store.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    is_whole = description.get("format") == FORMAT and description["sizes"] == _sizes(folder)
    return description if is_whole else {}


def _sizes(folder: Path) -> dict[str, int]:
    paths = [path for name in ("sentences", "blocks.i64") if (path := folder / name).exists()]
    return {path.name: path.stat().st_size for path in paths}


def open_blocks(folder: Path) -> Blocks:
    """Return the blocks of a whole store on disk."""
    table = np.fromfile(folder / "blocks.i64", dtype="<i8").reshape(-1, len(COLUMNS))
    return Blocks(table, Content(folder / "sentences"), describe(folder)["paths"])


class BlockWriter:
    """Packs sentences into blocks: in memory up to a window's words, then in a folder."""

    def __init__(self, window_words: int, open_folder: Callable[[], Path]) -> None:
        """`open_folder` gives an empty folder; it is called when it is needed."""
        self._window_words = window_words
        self._block_words = block_words(window_words)
        self._open_folder = open_folder
        self._folder: Path | None = None
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._table = array("q")
        self._paths: dict[str, int] = {}
        self._n_bytes = self._n_words = 0
        self._part = self._n_words_in_block = 0
        self._lines: list[bytes] = []
        self._lengths: list[int] = []
        """Of the block that is being filled, whose sentences are of that part."""

    @property
    def is_on_disk(self) -> bool:
        """Whether there were so many sentences."""
        return self._file is not None

    def add(self, part: int, sentence: Sentence) -> None:
        """Add a sentence to the end of a part."""
        if part != self._part:
            self._close_block()
            self._part = part
        path = self._paths.setdefault(sentence.path, len(self._paths))
        self._lines.append(pack(sentence, path))
        self._lengths.append(len(sentence.words))
        self._n_words_in_block += len(sentence.words)
        if self._n_words_in_block >= self._block_words:
            self._close_block()

    def finish(self, **about: Any) -> Blocks | None:
        """Return the blocks in memory, or write the folder's description with `about`."""
        self._close_block()
        if self._file is None or self._folder is None:
            table = np.array(self._table, dtype=np.int64).reshape(-1, len(COLUMNS))
            content = Content(memoryview(self._memory).toreadonly())
            return Blocks(table, content, list(self._paths))
        self._file.close()
        with (self._folder / "blocks.i64").open("wb") as file:
            np.array(self._table, dtype="<i8").tofile(file)
        sizes, paths = _sizes(self._folder), list(self._paths)
        description = {"format": FORMAT, "sizes": sizes, "paths": paths, **about}
        (self._folder / "store.json").write_text(json.dumps(description, indent=1), "utf-8")
        return None

    def close(self) -> None:
        """Close the file; `finish` has done so."""
        if self._file is not None:
            self._file.close()

    def _close_block(self) -> None:
        if not self._lines:
            return
        sizes = np.array([self._lengths, [*map(len, self._lines)]], dtype="<u4")
        content = sizes.tobytes() + b"".join(self._lines)
        counts = len(content), len(self._lines), self._n_words_in_block
        self._table.extend((self._part, self._n_bytes, *counts, crc32(content)))
        self._n_bytes += len(content)
        self._n_words += self._n_words_in_block
        self._lines, self._lengths, self._n_words_in_block = [], [], 0
        if self._file is None and self._n_words > self._window_words:
            self._folder = self._open_folder()
            self._file = (self._folder / "sentences").open("wb")
            self._file.write(self._memory)
            self._memory = bytearray()
        if self._file is None:
            self._memory += content
        else:
            self._file.write(content)


# Which parts of a corpus are in memory together: random blocks, as many as a window holds. A corpus
# that fits one window is shuffled as a whole. Of a larger one each epoch sees every block once,
# beside other blocks than in the epoch before; within a window, sentences are shuffled freely.

_BLOCKS_A_WINDOW = 256
"""Neighbours in a file share a window with so many other places of the text, in each epoch with
others."""

_ORDER = 101
"""Keep what is drawn here apart from what is drawn for an update (see
training/learning/batches.py)."""
_WINDOW = 102


def block_words(window_words: int) -> int:
    """How many words make a block, for windows of so many."""
    return max(1, window_words // _BLOCKS_A_WINDOW)


def plan_windows(sizes: NDArray[np.int64], window_words: int, *key: int) -> list[NDArray[np.int64]]:
    """Return the windows of an epoch: blocks in ascending order; a pure function.

    `sizes` are the blocks' words, `key` is what else the order depends on. A corpus of at most
    `window_words` is one window; a larger one is cut into windows of equal size, each of at most so
    many words and one block. Shape: int64 [blocks] -> int64 [blocks of the window] each.
    """
    total = int(sizes.sum())
    if total <= window_words:
        return [np.arange(len(sizes))]
    order = generator(*key, 0, _ORDER).permutation(len(sizes))
    n_windows = -(-total // window_words)
    ends = np.cumsum(sizes[order])
    cuts = np.searchsorted(ends, np.arange(1, n_windows) * total // n_windows)
    return [np.sort(blocks) for blocks in np.split(order, cuts) if len(blocks)]


def window_generator(window: int, *key: int) -> np.random.Generator:
    """Return the key that shuffles a window of an epoch, counted from 0."""
    return generator(*key, window, _WINDOW) if window else generator(*key)
