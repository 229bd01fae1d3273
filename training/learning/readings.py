"""What teachers say of sentences, kept on disk: read once, for every epoch and every student.

    teachers/TEACHER/about.json       which teacher that is
    teachers/TEACHER/DIGEST.reading   what it expects of the sentences with this digest

`TEACHER` is a digest of the teacher and of the temperature, so that nothing is ever out of date:
another teacher has another folder, and other sentences another file. A file depends on its
sentences alone. `teddy.training.data.shelf` says how files are written, and has the sentences.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from teddy.training.data.raw_text import Words
from teddy.training.data.shelf import Shelf, seal
from teddy.training.learning.teacher import Expectations

_FORMAT = 1
_BATCH_WORDS = 4_096
"""What teachers read together, padding included. It belongs to the format: numbers depend on it."""
_SMALLEST = 2.0**-14
"""Smaller numbers are kept as zero. They would take two thirds of the disk (25 bytes a word and tag
set of 17; 14 without them), and float16 has no full precision there."""

Ask = Callable[[Sequence[Words]], Expectations]
"""Have a teacher read sentences of about equal length."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a teacher expects of S sentences of N words in all.

    Shape: `unary` [N, K], `pairs` [S, K, K]; see `Expectations`.
    """

    unary: NDArray[Any]
    pairs: NDArray[Any]


def mean_reading(several: Sequence[Reading], tags: Sequence[Sequence[int]]) -> Reading:
    """Return the mean of teachers, whose tags are at the places `tags`, in the order of the first.

    It has the number format of the first, and the mean of one is itself.
    """
    first, order = several[0], list(tags[0])
    if len(several) == 1:
        return first
    moved = [
        (each.unary[:, at], each.pairs[:, at][:, :, at])
        for each, own in zip(several, tags, strict=True)
        for at in [[list(own).index(tag) for tag in order]]
    ]
    wide = np.promote_types(first.unary.dtype, np.float32)
    unary, pairs = (
        np.mean(np.stack(each), axis=0, dtype=wide).astype(first.unary.dtype)
        for each in zip(*moved, strict=True)
    )
    return Reading(unary, pairs)


class KnownSentences:
    """Sentences whose readings are in memory, found by their words."""

    def __init__(self) -> None:
        self._places: dict[bytes, tuple[Reading, int, int, int]] = {}

    def add(self, sentences: Sequence[Words], reading: Reading, wanted: Sequence[int]) -> None:
        """Add those of the sentences whose numbers are `wanted`; `reading` is of all of them."""
        lengths = np.array([len(words) for words in sentences])
        ends = np.cumsum(lengths)
        if len(wanted) < len(sentences):  # the rest need not stay in memory
            at = np.repeat(np.isin(np.arange(len(sentences)), wanted), lengths)
            reading = Reading(reading.unary[at], reading.pairs[list(wanted)])
            ends = np.cumsum(lengths[list(wanted)])
        for row, number in enumerate(wanted):
            words, end = sentences[number], int(ends[row])
            self._places[_key(words)] = (reading, row, end - len(words), end)

    def find(self, words: Words) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Return unary [words, K] and pairs [K, K] of a sentence, if they are known."""
        place = self._places.get(_key(words))
        if place is None:
            return None
        reading, row, start, end = place
        return reading.unary[start:end], reading.pairs[row]


def _key(words: Words) -> bytes:
    return blake2b(" ".join(words).encode(), digest_size=16).digest()


def expectations_of(found: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> Expectations:
    """Return as one batch what teachers say of sentences: unary [words, K] and pairs [K, K] each.

    float16 is coarse near one: there the most probable tag gets what the others leave, and so does
    the most frequent pair.
    """
    lengths = torch.tensor([len(unary) for unary, _ in found])
    unary = pad_sequence([torch.from_numpy(each).double() for each, _ in found], batch_first=True)
    pairs = torch.from_numpy(np.stack([each for _, each in found])).double()
    if found[0][0].dtype == np.float16:
        at_words = torch.arange(unary.shape[1]) < lengths.unsqueeze(1)
        _complete(unary, at_words.double())
        _complete(pairs.flatten(1), (lengths - 1).double())
    return Expectations(unary=unary, pairs=pairs)


def _complete(numbers: Tensor, totals: Tensor) -> None:
    """Change, in place, the largest number of the last dimension so that its sum is the total."""
    largest, place = numbers.max(dim=-1, keepdim=True)
    rest = totals.unsqueeze(-1) - numbers.sum(dim=-1, keepdim=True)
    numbers.scatter_(-1, place, (largest + rest).clamp_min(0.0))


class Readings:
    """What teachers say, on a shelf."""

    def __init__(self, shelf: Shelf, number_format: DTypeLike = np.float16) -> None:
        self.shelf = shelf
        self._number_format = np.dtype(number_format)

    def of_teacher(self, digest: bytes, temperature: float, about: dict[str, Any]) -> Path:
        """Return the folder of a teacher, which has what `about` says of it, for people."""
        how = {"format": _FORMAT, "numbers": str(self._number_format), "temperature": temperature}
        key = sha256(digest + json.dumps(how).encode()).hexdigest()[:16]
        folder = self.shelf.folder / "teachers" / key
        content = json.dumps({**about, **how}, ensure_ascii=False, indent=1).encode() + b"\n"
        self.shelf.make(folder / "about.json", lambda: content)
        return folder

    def make(
        self, folder: Path, sentences: Sequence[Words], ask: Ask, *, wait: bool = True
    ) -> bool:
        """Have a teacher read sentences that it has not read; return whether it did so now.

        Without `wait` sentences that another process is at are passed over.
        """

        def content() -> bytes:
            return _pack(_read(sentences, ask), self._number_format)

        return self.shelf.make(_path(folder, sentences), content, wait=wait)

    def get(self, folder: Path, sentences: Sequence[Words], ask: Ask) -> Reading:
        """Return what a teacher expects of sentences; it reads them unless it has."""
        path = _path(folder, sentences)
        return _unpack(*self.shelf.load(path, lambda: self.make(folder, sentences, ask)))


def _path(folder: Path, sentences: Sequence[Words]) -> Path:
    digest = sha256("\n".join(map(" ".join, sentences)).encode()).hexdigest()[:32]
    return folder / f"{digest}.reading"


def _pack(reading: Reading, number_format: np.dtype[Any]) -> bytes:
    parts = []
    for numbers in (reading.unary, reading.pairs):
        is_exact = number_format.itemsize > 2
        kept = numbers if is_exact else np.where(numbers < _SMALLEST, 0.0, numbers)
        # Tag by tag, numbers that are much alike lie beside each other.
        columns = kept.reshape(len(kept), -1).T.astype(number_format.newbyteorder("<"))
        parts.append(np.ascontiguousarray(columns).tobytes())
    n_words, n_tags = reading.unary.shape
    sizes = {"words": n_words, "sentences": len(reading.pairs), "tags": n_tags}
    return seal({**sizes, "numbers": str(number_format)}, b"".join(parts))


def _read(sentences: Sequence[Words], ask: Ask) -> Reading:
    """Have a teacher read sentences, in batches of about equal length."""
    lengths = [len(words) for words in sentences]
    order = sorted(range(len(sentences)), key=lengths.__getitem__)
    unary: list[Any] = [None] * len(sentences)
    pairs: list[Any] = [None] * len(sentences)
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * lengths[order[end]] <= _BATCH_WORDS:
            end += 1
        members = order[start:end]
        found = ask([sentences[number] for number in members])
        for row, number in enumerate(members):
            unary[number] = found.unary[row, : lengths[number]].cpu().numpy()
            pairs[number] = found.pairs[row].cpu().numpy()
        start = end
    return Reading(np.concatenate(unary), np.stack(pairs))


def _unpack(head: dict[str, Any], content: bytes) -> Reading:
    n_words, n_sentences, n_tags = (head[key] for key in ("words", "sentences", "tags"))
    numbers = np.frombuffer(content, dtype=np.dtype(head["numbers"]).newbyteorder("<"))
    unary, pairs = np.split(numbers, [n_words * n_tags])
    return Reading(
        np.ascontiguousarray(unary.reshape(n_tags, n_words).T),
        np.ascontiguousarray(pairs.reshape(-1, n_sentences).T).reshape(-1, n_tags, n_tags),
    )
