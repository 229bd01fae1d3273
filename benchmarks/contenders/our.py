"""Teddy: a model file through `teddy.load().tag()`, in this process or in one for each core."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil
from multiprocessing.synchronize import Barrier
from typing import Any
from unittest.mock import patch

import torch

import teddy
from benchmarks.contenders.contender import FIRST_TEXT, Entrant
from benchmarks.texts import count_words
from teddy.model.predictor import Predictor
from teddy.model.tagger import TaggingBatch

LOADING_SECONDS = 200
"""After which a process that does not get ready, or fails again and again, is given up."""
CHUNK_WORDS = 25_000
"""What one process is given at a time: enough to sort by length well."""
WORD_CHARACTERS = 6


def loaded(path: str, precision: str) -> Predictor:
    """The model, as a user loads it."""
    return teddy.load(path or None, precision=precision)


class Teddy:
    """One process, one thread."""

    def __init__(self, entrant: Entrant) -> None:
        torch.set_num_threads(1)
        self.predictor = loaded(entrant.path, entrant.precision)

    @property
    def details(self) -> str:
        manifest = self.predictor.manifest
        return f"model {manifest.name} {self.predictor.version}, {self.predictor.precision}"

    def tag(self, texts: Sequence[str]) -> int:
        return sum(len(entities) for entities in self.predictor.tag(texts))

    def tag_stream(self, texts: Iterable[str]) -> int:
        """Tags texts as they come, and keeps none."""
        return sum(len(tagged.entities) for tagged in self.predictor.tag_documents(texts))

    def words_read(self, texts: Sequence[str]) -> int:
        return sum(map(count_words, texts))


def network_alone(predictor: Predictor, texts: Sequence[str]) -> Callable[[], None]:
    """Repeat the very calls of the network that tagging these texts makes, and nothing around them.

    The only place in the benchmark that knows how a predictor reaches its network.
    """
    run = predictor.tagger.run
    batches: list[TaggingBatch] = []

    def recorded(batch: TaggingBatch) -> object:
        batches.append(batch)
        return run(batch)

    with patch.object(predictor.tagger, "run", recorded):
        predictor.tag(texts)

    def again() -> None:
        for batch in batches:
            run(batch)

    return again


class TeddyProcesses:
    """One process with the model for each core: texts go in chunks, results come in order."""

    def __init__(self, entrant: Entrant) -> None:
        # Processes that are forked from one with threads of its own may hang.
        context = multiprocessing.get_context("spawn")
        all_loaded = context.Barrier(entrant.cores + 1)
        self._pool = context.Pool(
            entrant.cores, _load_here, (entrant.path, entrant.precision, all_loaded)
        )
        all_loaded.wait(LOADING_SECONDS)
        self._cores = entrant.cores

    @property
    def details(self) -> str:
        return f"{self._cores} processes, {self._pool.apply(_precision_here)}"

    def tag(self, texts: Sequence[str]) -> int:
        found = self._pool.imap(_tag_here, _chunks(texts, self._cores))
        return sum(len(entities) for chunk in found for entities in chunk)

    def words_read(self, texts: Sequence[str]) -> int:
        return sum(map(count_words, texts))


def _chunks(texts: Sequence[str], n_processes: int) -> Iterator[list[str]]:
    """Yield the texts in order, about `CHUNK_WORDS` words at a time, as much for each process."""
    n_characters = sum(map(len, texts))
    n_each = ceil(n_characters / (n_processes * CHUNK_WORDS * WORD_CHARACTERS))
    most = n_characters // (n_processes * n_each) + 1
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size >= most:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


_predictor: Predictor | None = None
"""Of a process of the pool."""


def _load_here(path: str, precision: str, all_loaded: Barrier) -> None:
    global _predictor
    torch.set_num_threads(1)
    _predictor = loaded(path, precision)
    _predictor.tag([FIRST_TEXT])
    all_loaded.wait()


def _tag_here(texts: list[str]) -> list[list[Any]]:
    assert _predictor
    return list(_predictor.tag(texts))


def _precision_here() -> str:
    assert _predictor
    return _predictor.precision
