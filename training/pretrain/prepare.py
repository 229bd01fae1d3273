"""From text files to an encoded corpus: words are cut, counted and numbered, and get feature rows.

The text is read once and as a stream, in chunks of about a million words, each with numbers for its
own distinct words. When all words are counted, chunk by chunk the numbers become those of the whole
text. Memory holds a chunk and a bounded number of counts. A word that is too rare for them, or
occurs only in held-out sentences, has feature rows as any other, but another number in each chunk
that it occurs in.

Until then, chunks are in two files:

    numbers.u32        the number of each word in its chunk
    chunk_types.txt    the distinct words of each chunk, one a line, by number
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teddy.model.config import FeatureConfig
from teddy.model.errors import DataError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.system.files import atomic_folder
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import Tokeniser
from teddy.training.data.lexicon import read_lexicon
from teddy.training.data.readers.files import find_files, stream_lines
from teddy.training.data.store import block_words
from teddy.training.data.vocabulary import MOST_WORDS, WordCounts, frequent_words, train_pieces
from teddy.training.pretrain.encoded import FORMAT, is_held_out, write_words
from teddy.training.recipe.sections import PretrainConfig
from teddy.training.recipe.words import LexiconConfig, PiecesConfig

CHUNK_WORDS = 1_000_000

_CHUNK_SENTENCES = 1_000_000
_CHUNK_TYPES = 50_000
_RARE = 10
"""Pieces are not trained on words that occur less often..."""
_ENOUGH_WORDS_A_PIECE = 4
"""... unless fewer than so many words for each piece are left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some sentences as numbers.

    Shape, for S sentences of N words: `numbers` uint32 [N], `lengths` uint32 [S].
    """

    first: int
    """The number of sentences in the chunks before."""
    types: list[str]
    """The distinct words, by number."""
    numbers: NDArray[np.uint32]
    lengths: NDArray[np.uint32]

    def counts(self, held_out_every: int) -> dict[str, int]:
        """Return how often words occur in the sentences that are not held out."""
        held_out = is_held_out(self.first, self.first + len(self.lengths), held_out_every)
        learnt = self.numbers[np.repeat(~held_out, self.lengths)]
        counts = np.bincount(learnt, minlength=len(self.types)).tolist()
        return {word: count for word, count in zip(self.types, counts, strict=True) if count}


def cut_chunks(
    sentences: Iterable[Sequence[str]], chunk_words: int = CHUNK_WORDS
) -> Iterator[Chunk]:
    """Yield the chunks of a text; each ends with the sentence that fills it."""
    first = 0
    numbers: dict[str, int] = {}
    words: list[int] = []
    lengths: list[int] = []
    # An empty sentence stands for the end.
    for sentence in chain(sentences, [()]):
        words += [numbers.setdefault(word, len(numbers)) for word in sentence]
        if sentence:
            lengths.append(len(sentence))
        if len(words) >= chunk_words or (not sentence and words):
            yield Chunk(
                first=first,
                types=list(numbers),
                numbers=np.array(words, dtype="<u4"),
                lengths=np.array(lengths, dtype="<u4"),
            )
            first += len(lengths)
            numbers, words, lengths = {}, [], []


class ChunkFile:
    """The words of chunks on disk, written one after another and then read so."""

    def __init__(self, folder: Path) -> None:
        self._numbers, self._types = folder / "numbers.u32", folder / "chunk_types.txt"
        self._sizes: list[tuple[int, int]] = []

    def append(self, chunk: Chunk) -> None:
        """Write the words of a chunk."""
        with self._numbers.open("ab") as file:
            chunk.numbers.tofile(file)
        write_words(self._types, chunk.types)
        self._sizes.append((len(chunk.numbers), len(chunk.types)))

    def __iter__(self) -> Iterator[tuple[list[str], NDArray[np.uint32]]]:
        """Yield the distinct words of each chunk, by number, and its numbers."""
        with (
            self._numbers.open("rb") as numbers,
            self._types.open(encoding="utf-8", newline="\n") as types,
        ):
            for n_words, n_types in self._sizes:
                words = [line.removesuffix("\n") for line in islice(types, n_types)]
                yield words, np.fromfile(numbers, dtype="<u4", count=n_words)

    def remove(self) -> None:
        """Remove both files."""
        self._numbers.unlink()
        self._types.unlink()


def preparation(
    config: PretrainConfig,
    pieces: PiecesConfig,
    features: FeatureConfig,
    tokeniser: Tokeniser,
    lexicon: Sequence[LexiconConfig] = (),
) -> dict[str, Any]:
    """Return the settings that an encoded corpus depends on, as JSON would have them."""
    settings = {
        "tokeniser": asdict(tokeniser),
        "text": config.text,
        "longest_sentence": config.longest_sentence,
        "held_out_every": config.held_out_every,
        "shuffle_window_words": config.shuffle_window_words,
        "pieces": pieces.model_dump(mode="json"),
        "features": asdict(features),
        **({"lexicon": [each.model_dump(mode="json") for each in lexicon]} if lexicon else {}),
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def prepare(
    config: PretrainConfig,
    pieces: PiecesConfig,
    features: FeatureConfig,
    tokeniser: Tokeniser,
    data: Path,
    folder: Path,
    note: Callable[[str], None],
    *,
    most_types: int = MOST_WORDS,
    chunk_words: int = CHUNK_WORDS,
    lexicon: Sequence[LexiconConfig] = (),
) -> None:
    """Write the encoded corpus of the files of `config` below `data`: all of it, or nothing.

    `note` takes lines on the progress. At most `most_types` distinct words are counted. Raises
    DataError, with file and line, for a file that is missing, empty, damaged or not UTF-8.
    """
    files = find_files(config.text, data)
    classes = read_lexicon(lexicon, data)
    with atomic_folder(folder) as unfinished:
        chunks, counts = ChunkFile(unfinished), WordCounts(most_types)
        n_learnt_words = 0
        with (unfinished / "lengths.u32").open("wb") as lengths:
            for chunk in cut_chunks(_sentences(files, tokeniser, config, note), chunk_words):
                chunk.lengths.tofile(lengths)
                chunks.append(chunk)
                some = chunk.counts(config.held_out_every)
                counts.add(some)
                n_learnt_words += sum(some.values())
        if not counts.counts:
            reason = "too little text: it has one sentence, and that is held out"
            raise DataError(files[0], None, reason)
        by_word = dict(sorted(counts.counts.items(), key=lambda pair: -pair[1]))
        counts.counts.clear()
        note(f"{n_learnt_words:,} words to learn from, {len(by_word):,} distinct; training pieces")
        serialised = _train_pieces(by_word, pieces)
        frequent = frequent_words(by_word, features.word_rows)
        (unfinished / "pieces.model").write_bytes(serialised)
        write_words(unfinished / "words.txt", frequent)
        (unfinished / "lexicon").write_bytes(classes)
        np.fromiter(by_word.values(), dtype="<i8").tofile(unfinished / "counts.i64")
        n_blocks, n_words, n_sentences = _write_blocks(unfinished, config.shuffle_window_words)
        types = _Types(unfinished, WordFeatures(Pieces(serialised), features, frequent, classes))
        types.add(list(by_word))
        _write_text(unfinished, chunks, {word: n for n, word in enumerate(by_word)}, types)
        types.finish()
        chunks.remove()
        description = {
            "format": FORMAT,
            "settings": preparation(config, pieces, features, tokeniser, lexicon),
            "n_words": n_words,
            "n_learnt_words": n_learnt_words,
            "n_sentences": n_sentences,
            "n_blocks": n_blocks,
            "n_types": len(by_word),
            "n_rare_types": types.n_types - len(by_word),
            "n_rows": types.n_rows,
        }
        (unfinished / "corpus.json").write_text(json.dumps(description, indent=1))


def _train_pieces(counts: Mapping[str, int], config: PiecesConfig) -> bytes:
    """Train pieces on the words that are not rare, if these are enough, else on all."""
    common = {word: count for word, count in counts.items() if count >= _RARE}
    is_enough = len(common) >= _ENOUGH_WORDS_A_PIECE * config.vocabulary
    return train_pieces(common if is_enough else counts, config)


def read_sentences(path: Path, tokeniser: Tokeniser, longest: int) -> Iterator[list[str]]:
    """Yield the sentences of a text file, a paragraph a line, as words; cut them at `longest`.

    Raises DataError for a file that cannot be read or has no words.
    """
    is_empty = True
    for _, line in stream_lines(path):
        starts, ends, words = tokeniser.split_words(line)
        for first, last in split_sentences(line, Offsets(starts, ends)):
            is_empty = False
            for start in range(first, last, longest):
                yield words[start : min(start + longest, last)]
    if is_empty:
        raise DataError(path, None, "the file has no text")


def _sentences(
    files: Sequence[Path],
    tokeniser: Tokeniser,
    config: PretrainConfig,
    note: Callable[[str], None],
) -> Iterator[list[str]]:
    n_words = 0
    for path in files:
        for sentence in read_sentences(path, tokeniser, config.longest_sentence):
            n_words += len(sentence)
            yield sentence
        note(f"{path.name}: read, {n_words:,} words so far")


def _write_blocks(folder: Path, window_words: int) -> tuple[int, int, int]:
    """Write blocks.i64; return the number of blocks, of words and of sentences."""
    size = block_words(window_words)
    n_blocks = n_words = n_sentences = 0
    last = -1
    with (
        (folder / "lengths.u32").open("rb") as lengths,
        (folder / "blocks.i64").open("wb") as blocks,
    ):
        while len(
            some := np.fromfile(lengths, dtype="<u4", count=_CHUNK_SENTENCES).astype(np.int64)
        ):
            starts = n_words + np.cumsum(some) - some
            first = np.flatnonzero(np.diff(starts // size, prepend=last))
            np.stack([n_sentences + first, starts[first]], axis=1).astype("<i8").tofile(blocks)
            last = int(starts[-1]) // size
            n_blocks += len(first)
            n_words += int(some.sum())
            n_sentences += len(some)
        np.array([n_sentences, n_words], dtype="<i8").tofile(blocks)
    return n_blocks, n_words, n_sentences


class _Types:
    """Writes types.txt, rows.i32 and row_starts.i64 as words come; gives them their numbers."""

    def __init__(self, folder: Path, features: WordFeatures) -> None:
        self._folder = folder
        self._features = features
        self.n_types = self.n_rows = 0

    def add(self, types: Sequence[str]) -> None:
        """Add words; the first has the number `n_types`."""
        for first in range(0, len(types), _CHUNK_TYPES):
            some = types[first : first + _CHUNK_TYPES]
            rows, starts = self._features.bag(some, remember=False)
            self._write("rows.i32", rows.astype("<i4").tobytes())
            self._write("row_starts.i64", (starts + self.n_rows).astype("<i8").tobytes())
            self.n_rows += len(rows)
            write_words(self._folder / "types.txt", some)
        self.n_types += len(types)

    def finish(self) -> None:
        """Write where the last word's rows end."""
        self._write("row_starts.i64", np.array([self.n_rows], dtype="<i8").tobytes())

    def _write(self, name: str, content: bytes) -> None:
        with (self._folder / name).open("ab") as file:
            file.write(content)


def _write_text(folder: Path, chunks: ChunkFile, numbers: Mapping[str, int], types: _Types) -> None:
    """Write text.u32; add words that have no number to `types`."""
    with (folder / "text.u32").open("wb") as file:
        for words, text in chunks:
            rare = [word for word in words if word not in numbers]
            own = dict(zip(rare, range(types.n_types, types.n_types + len(rare)), strict=True))
            types.add(rare)
            renumbered = [numbers[word] if word in numbers else own[word] for word in words]
            np.array(renumbered, dtype="<u4")[text].tofile(file)
