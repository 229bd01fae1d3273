"""A folder of files that are made once and read often: the sentences of raw texts, and more.

A file is the SHA-256 of what follows it, a line of JSON, and bytes packed with zstd. It is written
whole or not at all: a process that is killed loses the file at hand. Several processes may fill one
folder, and each makes what no other has begun. What reads back as it was not written is made again.

The sentences of a text are in `texts/TEXT/000012.words`, by the number of the passage; `TEXT` is a
digest of the text and of how it is cut.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from backports import zstd
from numpy.typing import NDArray

from teddy.model.errors import DataError
from teddy.model.system.files import lock, remove_abandoned_folder, write_atomically
from teddy.training.data.raw_text import RawText, Words
from teddy.training.learning.torch_setup import generator

_FORMAT = 1
_PASSAGES_AT_ONCE = 32
"""Passages that are cut together: a packed file must be unpacked from its beginning."""


class Shelf:
    """The folder."""

    def __init__(self, folder: Path, note: Callable[[str], None] = lambda _: None) -> None:
        """Give `note` a line on each file that is damaged and made again."""
        self.folder = folder
        self._note = note

    def of_text(self, text: RawText, longest: int) -> "ShelvedText":
        """Return a text whose passages are cut once, into sentences of `longest` words at most."""
        key = sha256(text.digest() + longest.to_bytes(8)).hexdigest()[:16]
        return ShelvedText(self, text, longest, self.folder / "texts" / key)

    def make(self, path: Path, content: Callable[[], bytes], *, wait: bool = True) -> bool:
        """Write a file that is not there; return whether it was written now.

        Without `wait` a file that another process is making is passed over.
        """
        if path.exists():
            return False
        with alone(path, wait=wait) as is_alone:
            if not is_alone or path.exists():
                return False
            write_atomically(path, content())
            return True

    def load(self, path: Path, make: Callable[[], object]) -> tuple[dict[str, Any], bytes]:
        """Return the head and the content of a file; `make` it if it is missing or damaged.

        Raises DataError when it is damaged as soon as it is made.
        """
        for _ in range(2):
            if not path.exists():
                make()
            try:
                found = unseal(path.read_bytes())
            except FileNotFoundError:  # removed by another process, which found it damaged
                continue
            if found is not None:
                return found
            self._note(f"{path}: damaged, and made again")
            path.unlink(missing_ok=True)
        raise DataError(path, None, "damaged, and again as soon as it was made: is the disk?")


class ShelvedText:
    """A raw text, cut into sentences passage by passage, in an order that mixes all of it.

    Students share the order, so that they share what teachers have read.
    """

    def __init__(self, shelf: Shelf, text: RawText, longest: int, folder: Path) -> None:
        self._shelf = shelf
        self._text = text
        self._longest = longest
        self._folder = folder
        self._order: list[int] = generator(0).permutation(len(text)).tolist()
        self._lengths: list[NDArray[np.int64]] = []

    def sentences(self, place: int) -> list[Words]:
        """Return the sentences of the passage at a place of the order."""
        path = self._path(place)
        first = place - place % _PASSAGES_AT_ONCE
        _, content = self._shelf.load(path, lambda: self._cut(first))
        lines = content.decode().split("\n") if content else []
        return [tuple(line.split(" ")) for line in lines]

    def share(self, epoch: int, n_words: int, most: int) -> dict[int, list[int]]:
        """Return the sentences of an epoch of `n_words`: their numbers by place of the passage.

        Epochs go on where the one before ended, round and round in a pool of the first `most`
        words (0: the whole text). An epoch has a sentence at least, and none twice.
        """
        wanted = min((epoch + 1) * n_words, most or (epoch + 1) * n_words)
        total = sum(int(lengths.sum()) for lengths in self._lengths)
        while total < wanted and len(self._lengths) < len(self._order):
            lengths = [len(words) for words in self.sentences(len(self._lengths))]
            self._lengths.append(np.array(lengths, dtype=np.int64))
            total += sum(lengths)
        if not total:
            raise DataError(self._text.files[0], None, "the text has no words")
        lengths_of_all = np.concatenate(self._lengths)
        starts = np.cumsum(lengths_of_all) - lengths_of_all
        places = np.repeat(np.arange(len(self._lengths)), [*map(len, self._lengths)])
        numbers = np.concatenate([np.arange(len(each)) for each in self._lengths])
        if most:
            starts = starts[starts < most]
            total = int(starts[-1] + lengths_of_all[len(starts) - 1])
        first = epoch * n_words % total
        chosen = np.flatnonzero((starts - first) % total < n_words)
        if not len(chosen):
            chosen = np.searchsorted(starts, [first], side="right") - 1
        share: dict[int, list[int]] = {}
        for place, number in zip(places[chosen].tolist(), numbers[chosen].tolist(), strict=True):
            share.setdefault(place, []).append(number)
        return share

    def _path(self, place: int) -> Path:
        return self._folder / f"{self._order[place]:06}.words"

    def _cut(self, first: int) -> None:
        """Cut the passages that are missing of those that are cut together from `first` on."""
        with alone(self._path(first)):
            places = range(first, min(first + _PASSAGES_AT_ONCE, len(self._order)))
            missing = {
                self._order[place]: path
                for place in places
                if not (path := self._path(place)).exists()
            }
            for number, sentences in self._text.read(missing, self._longest).items():
                content = "\n".join(map(" ".join, sentences)).encode()
                write_atomically(missing[number], seal({"sentences": len(sentences)}, content))


@contextmanager
def alone(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Keep other processes from making a file while the block lasts.

    Gives whether that was possible: without `wait`, not while another process makes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    guard = path.with_suffix(".lock")
    with ExitStack() as stack:
        is_locked = False
        while not is_locked:
            file = stack.enter_context(guard.open("w"))
            try:
                lock(file, wait=wait)
            except BlockingIOError:
                yield False
                return
            # Who had the lock before may have removed the file: then others see another one.
            with suppress(FileNotFoundError):
                is_locked = guard.stat().st_ino == os.fstat(file.fileno()).st_ino
        stack.callback(guard.unlink)
        remove_abandoned_folder(path)
        yield True


def seal(head: dict[str, Any], content: bytes) -> bytes:
    """Return the bytes of a file."""
    body = json.dumps({"format": _FORMAT, **head}).encode() + b"\n" + zstd.compress(content)
    return sha256(body).hexdigest().encode() + b"\n" + body


def unseal(data: bytes) -> tuple[dict[str, Any], bytes] | None:
    """Return head and content, or None for what is not as it was written."""
    digest, _, body = data.partition(b"\n")
    if digest.decode("ascii", "replace") != sha256(body).hexdigest():
        return None
    head, _, packed = body.partition(b"\n")
    return json.loads(head), zstd.decompress(packed)
