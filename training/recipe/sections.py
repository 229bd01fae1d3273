"""The optional tables of a recipe: `[augment]`, `[card]`, `[distill]`, `[update]`, `[pretrain]`."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from teddy.model.config import NetworkConfig
from teddy.training.recipe.corpus_config import CorpusConfig, Table
from teddy.training.recipe.reading import KeyPath, MisfitError, suggest

ObjectiveName = Literal["masked", "causal"]


class AugmentConfig(Table):
    """Shares of the training sentences that are perturbed, drawn anew in each epoch."""

    lower: float = Field(default=0.0, ge=0, le=1)
    """In lower case as a whole, as in chats and in what a machine heard."""
    upper: float = Field(default=0.0, ge=0, le=1)
    """IN CAPITALS as a whole, as in headlines and forms."""
    title: float = Field(default=0.0, ge=0, le=1)
    """In the Title Case of Headlines."""
    unpunctuated: float = Field(default=0.0, ge=0, le=1)
    """Without punctuation: half of these without any, half without that at their end only."""
    typos: float = Field(default=0.0, ge=0, le=1)
    """With a slip of the fingers in about every tenth word of four letters or more."""
    joined: float = Field(default=0.0, ge=0, le=1)
    """Two run together as one, as where there is no space behind a full stop. Drawn for whole
    batches, whose sentences are then joined in twos: one long sentence among short ones would make
    all of them cost as much."""

    @property
    def is_on(self) -> bool:
        """Whether there is anything to do."""
        return any(self.model_dump().values())

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield the key whose value does not go with the others, and why."""
        if self.lower + self.upper + self.title > 1:
            yield (
                ("augment", "title"),
                "a sentence has one case: lower, upper and title must not exceed 1 together",
            )


class CardConfig(Table):
    """Free texts, in Markdown, for the model card (`training.model_card`).

    What is empty is said not to be stated.
    """

    description: str = ""
    """What the model is, in a sentence or two."""
    intended_use: str = ""
    out_of_scope: str = ""
    """Uses that it is not made for."""
    limits: str = ""
    """Where it is known to be wrong."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What each label means: label to meaning."""
    licence: str = ""
    """Of the model."""
    seeds: tuple[float, ...] = ()
    """Strict dev F1, 0 to 1, of the same recipe with other seeds, so that the spread can be
    stated."""

    def contradictions(self, labels: Sequence[str]) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys that contradict the labels of the recipe, and those that are no F1."""
        for label in self.labels:
            if label not in labels:
                yield ("labels", label), f"{label!r} is not in labels{suggest(label, labels)}"
        for place, f1 in enumerate(self.seeds):
            if not 0 <= f1 <= 1:
                yield ("seeds", place), f"must be an F1 between 0 and 1, not {f1}"


class DistillConfig(Table):
    """Teachers, whose distribution over the tags the student learns beside the annotations.

    They must have the same labels, all or some of the recipe's; their features, pieces and shape
    are their own.
    """

    teachers: tuple[str, ...] = ()
    """Model files or checkpoints below `--data`, or the name of the model that ships (`en`); of
    several the mean is learnt. Only where a model is updated there need be none: it is then its own
    teacher."""
    on_corpora: bool = True
    """The training sentences of the corpora are read too: where a corpus does not annotate a label,
    the teachers do."""
    text: tuple[str, ...] = ()
    """Files of plain text, a paragraph a line, relative to the data directory; globs are allowed,
    and `.xz`, `.gz` and `.bz2` are unpacked."""
    name: str = ""
    """Of the text, for the credit that the model carries."""
    licence: str = ""
    source: str = ""
    """Where the text comes from and whom to credit."""
    words: int = Field(default=200_000, ge=1)
    """Of the text in each epoch, each time from another place. They are spread over the updates of
    the epoch, to each at least one batch; so many words are kept in memory."""
    weight: float = Field(default=1.0, gt=0)
    """Of the distillation loss beside the supervised one; both are means over words."""
    temperature: float = Field(default=1.0, gt=0)
    """Divides the scores of teachers (after their calibration) and student alike; above one, what
    is improbable counts for more."""

    def contradictions(self, *, updates: bool = False) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys that contradict each other, and why; `updates`: a model is updated."""
        if not self.teachers and not updates:
            yield ("distill", "teachers"), "missing: name a teacher"
        if not self.text and not self.on_corpora:
            yield (
                ("distill", "text"),
                "there is nothing to distil on: give text, or on_corpora = true",
            )
        for key in ("name", "licence"):
            if self.text and not getattr(self, key):
                yield ("distill", key), "missing: the model must credit the text"


class UpdateConfig(Table):
    """New corpora for an existing model, with old corpora to rehearse or the model's predictions.

    The model's labels stay and come first, those that only the recipe has are added. Its features,
    pieces, words and the shape of its network are taken, whatever the recipe says of them. Where
    the recipe has no `[distill]` table, or one without `teachers`, the model as it was is the
    teacher of what it becomes.
    """

    model: str = Field(min_length=1)
    """A model file or a checkpoint, below `--data` or where you are, or `en`; `--update` puts one
    here."""
    sha256: str = ""
    """Of that file. It is filled in when the run begins, so that the run is never resumed with
    another."""
    rehearse: tuple[str, ...] = ()
    """Names of the recipe's corpora that are old: the model was trained on them, or on their
    like."""
    rehearsal: tuple[CorpusConfig, ...] = ()
    """More old corpora, written as `[[corpus]]`. They annotate the model's labels, unless they say
    which."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Of the words of an epoch that come from old corpora; less where they are too small, for no
    epoch has a sentence of theirs more often than its `weight`. Which ones is drawn anew for each
    epoch."""
    predictions: bool = True
    """Whether the model's own predictions are learnt where there is no `[distill]` table."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [*self.rehearse, *(corpus.name for corpus in self.rehearsal)]
        for name in names:
            if names.count(name) > 1:
                raise MisfitError(("rehearse",), f"{name!r} is named twice")
        return self

    def contradictions(self, corpora: Sequence[CorpusConfig]) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys whose values do not go with the recipe's corpora, and why."""
        names = [corpus.name for corpus in corpora]
        for place, name in enumerate(self.rehearse):
            if name not in names:
                yield (
                    ("update", "rehearse", place),
                    f"there is no corpus {name!r}{suggest(name, names)}",
                )
        for place, corpus in enumerate(self.rehearsal):
            if corpus.name in names:
                yield (
                    ("update", "rehearsal", place, "name"),
                    f"{corpus.name!r} is the name of two corpora",
                )
        if names and set(names) <= set(self.rehearse):
            yield ("update", "rehearse"), "every corpus is old: there is nothing new to learn"


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
    """Files of plain text, a paragraph a line, relative to the data directory; globs are allowed,
    and `.xz`, `.gz` and `.bz2` are unpacked."""
    longest_sentence: int = Field(default=100, ge=2)
    """In words; a longer sentence is cut."""
    shortest_sentence: int = Field(default=5, ge=2)
    """In words; nothing is asked of shorter ones."""
    held_out_every: int = Field(default=400, ge=2)
    """Every so many sentences one is held out: not learnt from, and asked at each evaluation."""

    objective: ObjectiveName = "masked"
    """`masked`: which word is missing? `causal`: which word comes next, read forwards, and read
    backwards? Only a `causal` run is a language model, which `teddy sample` needs.

    (Seven minutes of one core each, then five epochs of CoNLL-2003, dev F1 of one seed: masked
    91.3, causal 90.8; 90.8 without any. In that time `masked` read 8.6 million words, `causal`,
    which answers for every word twice, 3.1 million.)"""
    masked_share: float = Field(default=0.2, gt=0, lt=1)
    """Of the words of a batch."""
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

    @model_validator(mode="before")
    @classmethod
    def _ignore_old_keys(cls, table: Any) -> Any:
        """Ignore keys of objectives that older versions had, as in their resolved recipes."""
        if not isinstance(table, dict):
            return table
        old = ("replaced_share", "detection_weight")
        kept = {key: value for key, value in table.items() if key not in old}
        # Strict as tables are, they take lists for tuples from JSON only, which this is no longer.
        return {
            key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()
        }

    def contradictions(self, network: NetworkConfig) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys whose values do not go with each other or with the network, and why."""
        if self.shortest_sentence > self.longest_sentence:
            yield ("pretrain", "shortest_sentence"), "must not be greater than longest_sentence"
        if self.objective == "causal" and not network.bidirectional:
            yield ("pretrain", "objective"), "'causal' needs network.bidirectional"
        if self.objective == "causal" and network.dense_widths:
            yield (
                ("pretrain", "objective"),
                "'causal' cannot have network.dense_widths: they mix the two directions",
            )
