"""The shape of a tagger: the recipe's `[features]` and `[network]` tables, and a model file's."""

from dataclasses import dataclass
from typing import Literal

CellName = Literal[
    "lstm", "gru", "rnn", "gru-simple", "lstm-peephole", "lstm-coupled", "lstm-no-forget"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """The features of a word: rows of one embedding table, whose sum is the word's vector."""

    shape_rows: int = 512
    """The rows for hashed word shapes (`Xxx-dd`); 0: no such feature."""
    affix_rows: int = 16384
    """The rows for hashed prefixes and suffixes; 0: no such feature."""
    affix_lengths: tuple[int, ...] = (1, 2, 3, 4)
    """The lengths of the prefixes and suffixes, in characters of the case-folded word."""
    word_rows: int = 0
    """The most words with a row of their own, by their case-folded form; 0: no such feature. They
    are the most frequent of the training text, and occur at least twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The layers between a word's features and its emissions."""

    embedding_width: int = 128
    """The width of a word's vector."""
    normalise: bool = False
    """Whether word vectors pass a layer normalisation (Ba et al. 2016), so that words of few
    features and of many weigh alike."""
    cell: CellName = "lstm"
    """The cell of the recurrent layers."""
    layers: int = 2
    """The number of recurrent layers."""
    hidden_width: int = 128
    """The width of one direction of a recurrent layer."""
    bidirectional: bool = True
    """Whether a layer reads in both directions, or only forwards."""
    combine: Literal["concat", "sum"] = "concat"
    """How a layer joins its two directions: side by side, or by their sum, which is half as
    wide."""
    dense_widths: tuple[int, ...] = ()
    """The widths of the dense layers on top of the recurrent ones."""
    decoder: Literal["crf", "softmax"] = "crf"
    """`crf`: the best sequence of tags. `softmax`: the best tag of each word."""
    embedding_dropout: float = 0.3
    """The dropout of word vectors, 0 to below 1."""
    layer_dropout: float = 0.3
    """The dropout after each layer of the encoder, 0 to below 1."""
