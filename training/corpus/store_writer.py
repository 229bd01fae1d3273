"""Writing sentences in blocks, for `teddy.training.corpus.store` to read."""

import json
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np

from teddy.training.corpus.align import Sentence
from teddy.training.corpus.packed import pack
from teddy.training.corpus.store import COLUMNS, FORMAT, Blocks, InMemory, sizes_of
from teddy.training.corpus.windows import block_words


class BlockWriter:
    """Packs sentences into blocks, in memory until they have more words than a window, then in a folder."""

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
        self._block = _Block(part=0)

    @property
    def is_on_disk(self) -> bool:
        """Whether there were so many sentences."""
        return self._file is not None

    def add(self, part: int, sentence: Sentence) -> None:
        """Adds a sentence to the end of a part."""
        if part != self._block.part:
            self._close_block(part)
        self._block.add(sentence, self._paths.setdefault(sentence.path, len(self._paths)))
        if self._block.n_words >= self._block_words:
            self._close_block(part)

    def finish(self, **about: Any) -> Blocks | None:
        """The blocks if they are in memory; else all is in the folder, with `about` as part of its description."""
        self._close_block(0)
        if self._file is None or self._folder is None:
            table = np.array(self._table, dtype=np.int64).reshape(-1, len(COLUMNS))
            return Blocks(table, InMemory(self._memory), list(self._paths))
        self._file.close()
        with (self._folder / "blocks.i64").open("wb") as file:
            np.array(self._table, dtype="<i8").tofile(file)
        description = {"format": FORMAT, "sizes": sizes_of(self._folder), "paths": list(self._paths)} | about
        (self._folder / "store.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
        return None

    def close(self) -> None:
        """Closes the file; `finish` has done so."""
        if self._file is not None:
            self._file.close()

    def _close_block(self, next_part: int) -> None:
        """Writes the block if it has any sentence; the next one is of that part."""
        block, self._block = self._block, _Block(next_part)
        if not block.lines:
            return
        content = block.as_bytes()
        row = (block.part, self._n_bytes, len(content), len(block.lines), block.n_words, crc32(content))
        self._table.extend(row)
        self._n_bytes += len(content)
        self._n_words += block.n_words
        if self._file is None and self._n_words > self._window_words:
            self._move_to_disk()
        if self._file is None:
            self._memory += content
        else:
            self._file.write(content)

    def _move_to_disk(self) -> None:
        self._folder = self._open_folder()
        self._file = (self._folder / "sentences").open("wb")
        self._file.write(self._memory)
        self._memory = bytearray()


class _Block:
    """A block as it fills."""

    def __init__(self, part: int) -> None:
        self.part = part
        self.lines: list[bytes] = []
        self.lengths: list[int] = []
        self.n_words = 0

    def add(self, sentence: Sentence, path: int) -> None:
        self.lines.append(pack(sentence, path))
        self.lengths.append(len(sentence.words))
        self.n_words += len(sentence.words)

    def as_bytes(self) -> bytes:
        numbers = np.array([self.lengths, [len(line) for line in self.lines]], dtype="<u4")
        return numbers.tobytes() + b"".join(self.lines)
