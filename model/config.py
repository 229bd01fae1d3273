"""The shape of a tagger, nested as the tagger is nested.

Plain frozen dataclasses: a recipe's `[features]` and `[network]` tables are these, and a model file
carries them, so that the network that is served is built from the very values that it was trained
with.
"""

from dataclasses import dataclass
from typing import Literal

CellName = Literal[
    "lstm", "gru", "rnn", "gru-simple", "lstm-peephole", "lstm-coupled", "lstm-no-forget"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """What is looked up for one word.

    Every feature is a row of one embedding table; a word is their sum.
    """

    shape_rows: int = 512
    """Rows for hashed word shapes (`Xxx-dd`); 0 leaves the feature out."""
    affix_rows: int = 16384
    """Rows for hashed prefixes and suffixes; 0 leaves the feature out."""
    affix_lengths: tuple[int, ...] = (1, 2, 3, 4)
    """Lengths, in characters of the case-folded word, of the prefixes and suffixes that are looked
    up."""
    word_rows: int = 0
    """The most words that get a row of their own, by their case-folded form: the most frequent of
    the training text, of those that occur twice. 0 leaves the feature out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The layers between a word's features and its emissions."""

    embedding_width: int = 128
    normalise: bool = False
    """Layer normalisation (Ba et al. 2016) of each word's sum: words of few features and of many
    weigh alike."""
    cell: CellName = "lstm"
    layers: int = 2
    """Recurrent layers."""
    hidden_width: int = 128
    """Width of one direction of a recurrent layer."""
    bidirectional: bool = True
    combine: Literal["concat", "sum"] = "concat"
    """How a layer joins its two directions: side by side, or added up, which makes what comes next
    half as wide."""
    dense_widths: tuple[int, ...] = ()
    """Widths of the non-recurrent layers on top of the recurrent ones."""
    decoder: Literal["crf", "softmax"] = "crf"
    embedding_dropout: float = 0.3
    layer_dropout: float = 0.3
    """Between recurrent layers and before the emissions."""
