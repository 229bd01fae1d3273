"""From text files to an encoded corpus: words are cut, counted and numbered, pieces and feature rows are made.

The text is read once and as a stream. What is held in memory grows with the number of distinct words.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config import FeatureConfig
from model.errors import DataError
from model.features import WordFeatures
from model.files import atomic_path
from model.pieces import Pieces
from model.sentences import Offsets, split_sentences
from model.text import TOKENISER_VERSION, tokenise
from training.config import PiecesConfig
from training.pieces import frequent_words, train_pieces
from training.pretrain.config import PretrainConfig
from training.pretrain.encoded import FORMAT, is_held_out, write_words
from training.readers.files import find_files, stream_lines

_CHUNK_WORDS = 1_000_000
_CHUNK_SENTENCES = 100_000
_CHUNK_TYPES = 50_000

_RARE = 10
"""Words of fewer occurrences say little of how words are built and make many: pieces are not trained on them..."""
_ENOUGH_WORDS_A_PIECE = 4
"""... unless there are fewer frequent words than so many for each piece."""


def preparation(config: PretrainConfig, pieces: PiecesConfig, features: FeatureConfig) -> dict[str, Any]:
    """All of a recipe that an encoded corpus depends on, as JSON would have it."""
    settings = {
        "tokeniser_version": TOKENISER_VERSION,
        "text": config.text,
        "longest_sentence": config.longest_sentence,
        "held_out_every": config.held_out_every,
        "pieces": pieces.model_dump(mode="json"),
        "features": asdict(features),
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def prepare(
    config: PretrainConfig,
    pieces: PiecesConfig,
    features: FeatureConfig,
    data: Path,
    folder: Path,
    note: Callable[[str], None],
) -> None:
    """Writes the encoded corpus of the files that `config` names below `data`: all of it at `folder`, or nothing.

    `note` hears how far it is. Raises DataError, naming file and line, for a file that is missing, empty, damaged or
    not UTF-8.
    """
    files = find_files(config.text, data)
    with atomic_path(folder) as unfinished:
        unfinished.mkdir()
        types = _number_words(files, config.longest_sentence, unfinished, note)
        lengths = np.fromfile(unfinished / "lengths.u32", dtype="<u4")
        counts = _counts(unfinished, lengths, len(types), config.held_out_every)
        if not counts.any():
            raise DataError(files[0], None, "too little text: it has one sentence, and that is held out")
        types, counts = _by_frequency(unfinished, types, counts)
        note(f"{int(counts.sum()):,} words to learn from, {len(types):,} distinct; training pieces")
        by_word = dict(zip(types, counts.tolist(), strict=True))
        serialised = train_pieces(_words_for_pieces(by_word, pieces.vocabulary), pieces)
        frequent = frequent_words(by_word, features.word_rows)
        n_rows = _write_rows(unfinished, types, WordFeatures(Pieces(serialised), features, frequent))
        (unfinished / "pieces.model").write_bytes(serialised)
        write_words(unfinished / "words.txt", list(frequent))
        write_words(unfinished / "types.txt", types)
        counts.astype("<i8").tofile(unfinished / "counts.i64")
        description = {
            "format": FORMAT,
            "settings": preparation(config, pieces, features),
            "n_words": int(lengths.sum(dtype=np.int64)),
            "n_sentences": len(lengths),
            "n_types": len(types),
            "n_rows": n_rows,
        }
        (unfinished / "corpus.json").write_text(json.dumps(description, indent=1))
        _flush(unfinished)


def read_sentences(path: Path, longest: int) -> Iterator[list[str]]:
    """Yield the sentences of a text file, a paragraph a line, as words; those over `longest` words are cut.

    Raises DataError for a file that cannot be read or has no words.
    """
    is_empty = True
    for _, line in stream_lines(path):
        words = tokenise(line)
        for first, last in split_sentences(line, Offsets.of(words)):
            is_empty = False
            for start in range(first, last, longest):
                yield [line[begin:end] for begin, end in words[start : min(start + longest, last)]]
    if is_empty:
        raise DataError(path, None, "the file has no text")


def _number_words(files: list[Path], longest: int, folder: Path, note: Callable[[str], None]) -> list[str]:
    """Writes lengths.u32, and words.u32 with numbers in the order of appearance; gives the words in that order."""
    numbers: dict[str, int] = {}
    words: list[int] = []
    lengths: list[int] = []
    n_words = 0
    with (folder / "words.u32").open("wb") as word_file, (folder / "lengths.u32").open("wb") as length_file:

        def flush() -> None:
            np.array(words, dtype="<u4").tofile(word_file)
            np.array(lengths, dtype="<u4").tofile(length_file)
            words.clear()
            lengths.clear()

        for path in files:
            for sentence in read_sentences(path, longest):
                words += [numbers.setdefault(word, len(numbers)) for word in sentence]
                lengths.append(len(sentence))
                n_words += len(sentence)
                if len(words) >= _CHUNK_WORDS:
                    flush()
            note(f"{path.name}: read, {n_words:,} words so far, {len(numbers):,} distinct")
        flush()
    return list(numbers)


def _counts(folder: Path, lengths: NDArray[np.uint32], n_types: int, held_out_every: int) -> NDArray[np.int64]:
    """How often each word occurs in the sentences that are not held out."""
    words = np.memmap(folder / "words.u32", dtype="<u4", mode="r")
    counts = np.zeros(n_types, dtype=np.int64)
    start = 0
    for first in range(0, len(lengths), _CHUNK_SENTENCES):
        some = lengths[first : first + _CHUNK_SENTENCES].astype(np.int64)
        end = start + int(some.sum())
        learnt_from = np.repeat(~is_held_out(len(some), held_out_every, first), some)
        counts += np.bincount(words[start:end][learnt_from], minlength=n_types)
        start = end
    return counts


def _by_frequency(folder: Path, types: list[str], counts: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """Numbers the words anew, the most frequent first; writes text.u32 in place of words.u32."""
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(order), dtype="<u4")
    rank[order] = np.arange(len(order), dtype="<u4")
    words = np.memmap(folder / "words.u32", dtype="<u4", mode="r")
    with (folder / "text.u32").open("wb") as file:
        for start in range(0, len(words), _CHUNK_WORDS):
            rank[words[start : start + _CHUNK_WORDS]].tofile(file)
    del words
    (folder / "words.u32").unlink()
    return [types[number] for number in order.tolist()], counts[order]


def _words_for_pieces(counts: Mapping[str, int], vocabulary: int) -> dict[str, int]:
    frequent = {word: count for word, count in counts.items() if count >= _RARE}
    if len(frequent) >= _ENOUGH_WORDS_A_PIECE * vocabulary:
        return frequent
    return {word: count for word, count in counts.items() if count > 0}


def _write_rows(folder: Path, types: list[str], features: WordFeatures) -> int:
    """Writes rows.i32 and row_starts.i64; gives the number of rows in all."""
    n_rows = 0
    with (folder / "rows.i32").open("wb") as row_file, (folder / "row_starts.i64").open("wb") as start_file:
        for first in range(0, len(types), _CHUNK_TYPES):
            rows, starts = features.bag(types[first : first + _CHUNK_TYPES])
            rows.astype("<i4").tofile(row_file)
            (starts + n_rows).astype("<i8").tofile(start_file)
            n_rows += len(rows)
        np.array([n_rows], dtype="<i8").tofile(start_file)
    return n_rows


def _flush(folder: Path) -> None:
    """Wait until the files would survive a power cut, as their folder does (see model/files.py)."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
