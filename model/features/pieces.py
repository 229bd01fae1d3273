"""The sentencepiece units of a word (Kudo & Richardson 2018); with byte fallback all are known."""

from collections.abc import Iterable, Sequence

import sentencepiece


class Pieces:
    """A trained sentencepiece model, carried as bytes in the model file.

    Words are encoded one by one, after the tokeniser has cut them: in running text an unknown run
    would swallow its neighbours, and the normaliser would move offsets.
    """

    def __init__(self, serialised: bytes) -> None:
        self.serialised = serialised
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=serialised)
        self.n_pieces: int = self._processor.get_piece_size()

    def ids(self, word: str) -> list[int]:
        """Return the piece ids of a word; empty if it normalises to nothing (a lone U+FFFD)."""
        ids: list[int] = self._processor.encode(word)
        return ids

    def ids_of_each(self, words: Sequence[str]) -> list[list[int]]:
        """Return the piece ids of each word, in less than half the time."""
        ids: list[list[int]] = self._processor.encode(list(words)) if words else []
        return ids

    def byte_ids(self) -> frozenset[int]:
        """Return the ids of the pieces that are bytes of characters out of the vocabulary."""
        return frozenset(filter(self._processor.is_byte, range(self.n_pieces)))

    def names(self, ids: Iterable[int]) -> list[str]:
        """Return the pieces as sentencepiece writes them."""
        return [self._processor.id_to_piece(i) for i in ids]
