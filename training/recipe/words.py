"""The tables of a recipe about single words: `[pieces]`, `[embedding]` and `[[lexicon]]`."""

from typing import Self

from pydantic import Field, model_validator

from teddy.model.file.bundle import TrainingData
from teddy.model.system.toml import MisfitError
from teddy.training.recipe.corpus_config import Table


class PiecesConfig(Table):
    """The sentencepiece model (unigram with byte fallback), trained on the training data."""

    vocabulary: int = Field(default=8000, ge=300)
    """The most pieces, at least 300 (256 are bytes). If you leave it out, fewer for small data."""
    character_coverage: float = Field(default=0.9995, gt=0, le=1)
    """The share of the characters of the training data, above 0 to 1, that become pieces. The
    others are spelt in bytes."""


class EmbeddingConfig(Table):
    """Word vectors that the rows of whole words start from, instead of random numbers."""

    vectors: str = ""
    """A text file of word vectors below `--data`, as GloVe, word2vec and fastText write them (.txt,
    .vec; also `.xz`, `.gz` and `.bz2`). At most `features.word_rows` words get a row: first those
    of the training data, then the most frequent of the file. Pre-training gives rows to the most
    frequent words of its text. Vectors of another width than `network.embedding_width` are padded
    with zeros or reduced to their principal components."""
    name: str = ""
    """The name of the vectors, which the model file credits."""
    licence: str = ""
    """The licence of the vectors."""
    source: str = ""
    """Where the vectors come from, and who is to be credited."""

    @model_validator(mode="after")
    def _check_credit(self) -> Self:
        for key in ("name", "licence") if self.vectors else ():
            if not getattr(self, key):
                raise MisfitError((key,), "missing: the model must credit the vectors")
        return self

    @property
    def credit(self) -> tuple[TrainingData, ...]:
        """What a model that starts from the vectors must credit; nothing without vectors."""
        own = TrainingData(name=self.name, licence=self.licence, source=self.source)
        return (own,) if self.vectors else ()


class LexiconConfig(Table):
    """Classes of words, such as Brown clusters or lists of names; those of one class share a row.

    So words that no training sentence has are read like others of their class.
    """

    files: tuple[str, ...] = Field(min_length=1)
    """Text files below `--data`: a word, a tab and its class on each line, or a word alone where
    the whole file is one class; or what the program of Brown clusters writes, the path, the word
    and its count. Lines of several words are passed over. Globs are allowed; `.xz`, `.gz` and
    `.bz2` are unpacked."""
    words: int = Field(default=200_000, ge=1)
    """The most words that are taken of each file: its first, or the most frequent where it has
    counts. Each takes three bytes of the model file."""
    name: str
    """The name of the lexicon, which the model file credits."""
    licence: str
    """The licence of the lexicon."""
    source: str = ""
    """Where the lexicon comes from, and who is to be credited."""

    @property
    def credit(self) -> TrainingData:
        """What a model with this lexicon must credit."""
        return TrainingData(name=self.name, licence=self.licence, source=self.source)
