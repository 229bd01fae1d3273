"""Sentencepiece units of a word (Kudo & Richardson 2018): with byte fallback, so that no word is unknown."""

from collections.abc import Iterable, Sequence

import sentencepiece


class Pieces:
    """A trained sentencepiece model, carried as bytes in the model file.

    Words are encoded one by one, after the tokeniser has cut them: encoding running text would let
    an unknown run swallow its neighbours, and its normaliser would move offsets.
    """

    def __init__(self, serialised: bytes) -> None:
        self.serialised = serialised
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=serialised)
        self.n_pieces: int = self._processor.get_piece_size()

    def ids(self, word: str) -> list[int]:
        """The piece ids of one word; empty for a word that normalises to nothing, such as a lone U+FFFD."""
        ids: list[int] = self._processor.encode(word)
        return ids

    def ids_of_each(self, words: Sequence[str]) -> list[list[int]]:
        """The piece ids of each of many words, in less than half the time."""
        ids: list[list[int]] = self._processor.encode(list(words)) if words else []
        return ids

    def byte_ids(self) -> frozenset[int]:
        """The ids of the pieces that are bytes, for characters that the vocabulary does not have."""
        return frozenset(filter(self._processor.is_byte, range(self.n_pieces)))

    def names(self, ids: Iterable[int]) -> list[str]:
        """The pieces as sentencepiece writes them, for people to read."""
        return [self._processor.id_to_piece(i) for i in ids]
