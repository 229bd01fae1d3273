"""The `[pretrain]` table of a recipe: which text an encoder learns from, what it is asked, and for how long."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from teddy.model.config import NetworkConfig
from teddy.training.corpus.config import Table
from teddy.training.toml_lines import KeyPath

ObjectiveName = Literal["masked", "causal", "replaced", "both"]


class PretrainConfig(Table):
    """What `teddy pretrain` learns from, and how.

    The recipe's `pieces`, `features` and `network` hold here too, but for the network's dropouts.
    """

    name: str = Field(min_length=1)
    """Of the text, for the credit that a model started from this encoder carries."""
    licence: str = Field(min_length=1)
    source: str = ""
    """Where the text comes from and whom to credit."""
    text: tuple[str, ...] = Field(min_length=1)
    """Files of plain text, a paragraph a line, relative to the data directory; globs are allowed, and `.xz`, `.gz` and
    `.bz2` are unpacked."""
    longest_sentence: int = Field(default=100, ge=2)
    """In words; a longer sentence is cut."""
    shortest_sentence: int = Field(default=5, ge=2)
    """In words; nothing is asked of shorter ones."""
    held_out_every: int = Field(default=400, ge=2)
    """Every so many sentences one is held out: not learnt from, and asked at each evaluation."""

    objective: ObjectiveName = "masked"
    """`masked`: which word is missing? `causal`: which word comes next, read forwards, and read backwards? `replaced`:
    which words were put there at random? `both`: the first and the third at once.

    (Seven minutes of one core each, then five epochs of CoNLL-2003, dev F1 of one seed: masked 91.3, both 91.3, causal
    90.8; 90.8 without any. In that time `masked` and `both` read 8.6 million words, `causal`, which answers for every
    word twice, 3.1 million.)"""
    masked_share: float = Field(default=0.2, gt=0, lt=1)
    """Of the words of a batch."""
    replaced_share: float | None = Field(default=None, gt=0, lt=1)
    """Of the words of a batch; when it is not given, 0.15, and 0.1 beside masked words."""
    detection_weight: float = Field(default=5.0, gt=0)
    """Of the loss over replaced words, beside that over masked ones (`both`)."""
    feature_dropout: float = Field(default=0.1, ge=0, lt=1)
    """As `training.feature_dropout`."""
    layer_dropout: float = Field(default=0.0, ge=0, lt=1)
    """As `network.layer_dropout`, in place of it."""

    words: int = Field(default=80_000_000, ge=1)
    """To read in all; the text is begun again when it is shorter."""
    batch_words: int = Field(default=4096, ge=1)
    """Words per update."""
    shuffle_window_words: int = Field(default=16_000_000, ge=1)
    """A longer text is streamed from disk: so many words are in memory, and shuffled, at a time."""
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_steps: int = Field(default=300, ge=1)
    """Updates over which the learning rate rises from zero."""
    final_learning_rate_share: float = Field(default=0.02, ge=0, le=1)
    """The learning rate falls to this share of itself by the last word."""
    weight_decay: float = Field(default=0.01, ge=0)
    gradient_clip: float = Field(default=5.0, gt=0)
    """Largest norm of the gradient of everything but the embedding."""

    evaluation_steps: int = Field(default=2000, ge=1)
    """Updates between two evaluations; there is one at the end in any case."""
    evaluation_sentences: int = Field(default=2000, ge=1)
    """Held-out sentences that are asked at each, at most."""
    evaluation_words: int = Field(default=20_000, ge=2)
    """An evaluation, and `teddy sample`, chooses among so many of the most frequent words."""
    checkpoint_steps: int = Field(default=1000, ge=1)
    """Updates between two checkpoints."""
    checkpoint_seconds: float = Field(default=300.0, gt=0)
    """A checkpoint is also written when the last one is so old."""
    mixed_precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=0)
    """Of the CPU; 0 is as many as cores, at most 4."""

    def contradictions(self, network: NetworkConfig) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys whose values do not go with each other or with the network, and why."""
        if self.shortest_sentence > self.longest_sentence:
            yield ("pretrain", "shortest_sentence"), "must not be greater than longest_sentence"
        if self.objective == "causal" and not network.bidirectional:
            yield ("pretrain", "objective"), "'causal' needs network.bidirectional"
        if self.objective == "causal" and network.dense_widths:
            yield ("pretrain", "objective"), "'causal' cannot have network.dense_widths: they mix the two directions"
