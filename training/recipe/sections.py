"""The optional tables of a recipe, from `[augment]` to `[pretrain]`."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from teddy.model.config import NetworkConfig
from teddy.model.file.bundle import TrainingData
from teddy.model.system.toml import KeyPath, MisfitError, suggest
from teddy.training.recipe.corpus_config import CorpusConfig, Table

ObjectiveName = Literal["masked", "causal"]


class AugmentConfig(Table):
    """Shares, 0 to 1, of the training sentences that are perturbed, drawn again in each epoch."""

    lower: float = Field(default=0.0, ge=0, le=1)
    """The share in lower case, as in chats and recognised speech."""
    upper: float = Field(default=0.0, ge=0, le=1)
    """The share IN CAPITALS, as in headlines and forms."""
    title: float = Field(default=0.0, ge=0, le=1)
    """The share in the Title Case of Headlines."""
    unpunctuated: float = Field(default=0.0, ge=0, le=1)
    """The share without punctuation: half of it without any, half without that at the end."""
    typos: float = Field(default=0.0, ge=0, le=1)
    """The share with a typing error in about every tenth word of four letters or more."""
    joined: float = Field(default=0.0, ge=0, le=1)
    """The share of batches whose sentences are joined in pairs, as where there is no space behind a
    full stop."""

    titles: float = Field(default=0.0, ge=0, le=1)
    """The share in which persons get a title (`Ms Okafor`) that is not part of the entity."""
    person: str = "PER"
    """The label of the persons that `titles` is for."""
    marks: float = Field(default=0.0, ge=0, le=1)
    """The share with `@ name` and `# name` written without the space, and one other name as a
    handle or a hashtag."""
    lists: float = Field(default=0.0, ge=0, le=1)
    """The share, of those with two entities or more, of which only the names are left, as in
    tables, lists and addresses."""

    @property
    def is_on(self) -> bool:
        """Whether any share is above 0."""
        return any(isinstance(share, float) and share for share in self.model_dump().values())

    @property
    def case_alone(self) -> "AugmentConfig":
        """The same without what changes more than the case of letters."""
        return AugmentConfig(lower=self.lower, upper=self.upper, title=self.title)

    @property
    def changes_names(self) -> bool:
        """Whether any share is above 0 of those that change how names are written."""
        return bool(self.titles or self.marks or self.lists)

    def contradictions(self, labels: Sequence[str]) -> Iterator[tuple[KeyPath, str]]:
        """Yield the key whose value does not go with the others, and why."""
        if self.lower + self.upper + self.title > 1:
            reason = "a sentence has one case: lower, upper and title must not exceed 1 together"
            yield ("augment", "title"), reason
        if self.titles + self.marks + self.lists > 1:
            reason = "names are changed in one way: titles, marks and lists must not exceed 1"
            yield ("augment", "lists"), reason
        if self.titles and self.person not in labels:
            reason = f"{self.person!r} is not in labels{suggest(self.person, labels)}"
            yield ("augment", "person"), reason


class CardConfig(Table):
    """Texts, in Markdown, for the model card, which says of an empty one that it is not stated."""

    description: str = ""
    """A description of the model in a sentence or two."""
    intended_use: str = ""
    """The uses that the model is made for."""
    out_of_scope: str = ""
    """Uses that the model is not made for."""
    limits: str = ""
    """Texts and entities on which the model is known to be wrong."""
    labels: dict[str, str] = Field(default_factory=dict)
    """The meaning of each label."""
    licence: str = ""
    """The licence of the model."""
    seeds: tuple[float, ...] = ()
    """The strict dev F1, 0 to 1, of the same recipe with other seeds, to show the spread."""

    def contradictions(self, labels: Sequence[str]) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys that contradict the labels of the recipe, and those that are no F1."""
        for label in self.labels:
            if label not in labels:
                yield ("labels", label), f"{label!r} is not in labels{suggest(label, labels)}"
        for place, f1 in enumerate(self.seeds):
            if not 0 <= f1 <= 1:
                yield ("seeds", place), f"must be an F1 between 0 and 1, not {f1}"


class DistillConfig(Table):
    """Teachers: models whose tag distributions the student learns beside the annotations.

    A teacher has all or some of the labels of the recipe. Among these it teaches; what the others
    are, it leaves open. Features, pieces and networks of teachers may differ.
    """

    teachers: tuple[str, ...] = ()
    """Model files or checkpoints below `--data`, or a model that ships (`en`), or `hf:` and the
    folder of a token classifier of Hugging Face's transformers. The student learns the mean of
    several. Without any, an `update` has the old model as its teacher."""
    map: dict[str, str] = Field(default_factory=dict)
    """For teachers `hf:`: their labels, without prefixes such as `B-`, and the label of the recipe
    that each stands for, or `O`."""
    pooling: Literal["first", "mean"] = "first"
    """For teachers `hf:`: whether a word is what its first piece is, or the mean of its pieces."""
    on_corpora: bool = True
    """Whether the teachers also read the training sentences of the corpora."""
    text: tuple[str, ...] = ()
    """Files of plain text, a paragraph a line, relative to the data directory. Globs are allowed;
    `.xz`, `.gz` and `.bz2` are unpacked."""
    name: str = ""
    """The name of the text, which the model file credits."""
    licence: str = ""
    """The licence of the text."""
    source: str = ""
    """Where the text comes from, and who is to be credited."""
    words: int = Field(default=200_000, ge=1)
    """The words of the text that are read in each epoch, which goes on where the one before ended.
    They are kept in memory. Each update reads at least one batch of them."""
    pool: int = Field(default=0, ge=0)
    """The words of the text that teachers read in all. Epochs go round in them. 0: the whole text,
    as far as the epochs get."""
    changed: bool = True
    """Whether teachers also read sentences whose words augmentation has changed, in each
    epoch again. With slow teachers that takes most of the time. If not, such sentences have their
    annotation alone, and raw text is changed in case only."""
    keep: str = ""
    """The folder, below the working directory, in which what teachers say of sentences is kept for
    other runs, some 20 bytes a word. Empty: in that of the run, until it ends."""
    weight: float = Field(default=1.0, gt=0)
    """The factor of the distillation loss; that of the supervised loss is 1. Both are means over
    words."""
    temperature: float = Field(default=1.0, gt=0)
    """The number that the scores of teachers and student are divided by. Above 1, improbable tags
    count for more."""

    def contradictions(
        self, labels: Sequence[str], *, updates: bool = False
    ) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys that contradict each other, and why; `updates`: a model is updated."""
        for label, target in self.map.items():
            if target != "O" and target not in labels:
                reason = f"{target!r} is not in labels{suggest(target, labels)}"
                yield ("distill", "map", label), reason
        if not self.teachers and not updates:
            yield ("distill", "teachers"), "missing: name a teacher"
        if not self.text and not self.on_corpora:
            reason = "there is nothing to distil on: give text, or on_corpora = true"
            yield ("distill", "text"), reason
        for key in ("name", "licence"):
            if self.text and not getattr(self, key):
                yield ("distill", key), "missing: the model must credit the text"


class TransformerConfig(Table):
    """A pre-trained transformer that reads the words before the recurrent layers do.

    Such a tagger is a teacher: its run ends with `best.checkpoint`, for `distill.teachers`, and
    without a model file. `network.embedding_width` is the width of a word's own features beside the
    transformer's. Needs the extra `transformers`.
    """

    directory: str = Field(min_length=1)
    """The directory of the transformer: `config.json`, weights and tokenizer. It must stay where it
    is as long as the teacher is used."""
    name: str = Field(min_length=1)
    """The name of the transformer, which the teacher and its students credit."""
    licence: str = Field(min_length=1)
    """The licence of the transformer."""
    source: str = ""
    """Where the transformer comes from, and who is to be credited."""
    learning_rate_share: float = Field(default=0.03, ge=0, le=1)
    """The share of the learning rate, 0 to 1, at which the transformer learns."""
    frozen_layers: int = Field(default=0, ge=0)
    """The layers, from the first, that stay as they are, and the pieces' vectors with them; 0: all
    learn."""

    @property
    def credit(self) -> TrainingData:
        """What a teacher on this transformer, and its students, must credit."""
        return TrainingData(name=self.name, licence=self.licence, source=self.source)


class UpdateConfig(Table):
    """New corpora for an existing model, with old corpora to rehearse or the model's predictions.

    The labels of the model come first, those of the recipe are added. The features, pieces, words
    and shape of the network are those of the model. Without `[distill]`, or without `teachers` in
    it, the model as it was is the teacher.
    """

    model: str = Field(min_length=1)
    """A model file or a checkpoint, below `--data` or the working directory, or one that
    ships. `--update` sets this key."""
    sha256: str = ""
    """The SHA-256 of that file. A run fills it in, and is resumed only with the same file."""
    rehearse: tuple[str, ...] = ()
    """The names of the recipe's corpora that are old: the model was trained on them or on similar
    ones."""
    rehearsal: tuple[CorpusConfig, ...] = ()
    """More old corpora, written as `[[corpus]]`. By default they annotate the model's labels."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """The share, between 0 and 1, of an epoch's words that come from old corpora. It is smaller
    where these are too small: no sentence is drawn more often than the `weight` of its corpus."""
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
                reason = f"there is no corpus {name!r}{suggest(name, names)}"
                yield ("update", "rehearse", place), reason
        for place, corpus in enumerate(self.rehearsal):
            if corpus.name in names:
                reason = f"{corpus.name!r} is the name of two corpora"
                yield ("update", "rehearsal", place, "name"), reason
        if names and set(names) <= set(self.rehearse):
            yield ("update", "rehearse"), "every corpus is old: there is nothing new to learn"


class PretrainConfig(Table):
    """The text that `teddy pretrain` learns from, and the settings of its run.

    The recipe's `pieces`, `features` and `network` hold here too, except for the dropouts.
    """

    name: str = Field(min_length=1)
    """The name of the text, which every model started from this encoder credits."""
    licence: str = Field(min_length=1)
    """The licence of the text."""
    source: str = ""
    """Where the text comes from, and who is to be credited."""
    text: tuple[str, ...] = Field(min_length=1)
    """Files of plain text, a paragraph a line, relative to the data directory. Globs are allowed;
    `.xz`, `.gz` and `.bz2` are unpacked."""
    longest_sentence: int = Field(default=100, ge=2)
    """The most words of a sentence, at least 2. A longer one is cut."""
    shortest_sentence: int = Field(default=5, ge=2)
    """The fewest words of a sentence, at least 2. Shorter ones are skipped."""
    held_out_every: int = Field(default=400, ge=2)
    """One sentence in so many, at least 2, is held out: it is evaluated on, not learnt from."""

    objective: ObjectiveName = "masked"
    """`masked`: guess hidden words. `causal`: guess the next word, reading forwards, and the
    previous one, reading backwards. `teddy sample` needs a `causal` run.

    (Seven minutes of one core each, then five epochs of CoNLL-2003, dev F1 of one seed: masked
    91.3, causal 90.8, and 90.8 without pre-training. `masked` read 8.6 million words in that time,
    `causal`, which guesses every word twice, 3.1 million.)"""
    masked_share: float = Field(default=0.2, gt=0, lt=1)
    """The share of a batch's words, between 0 and 1, that is hidden."""
    feature_dropout: float = Field(default=0.1, ge=0, lt=1)
    """The probability that a word loses all its features of one kind."""
    layer_dropout: float = Field(default=0.0, ge=0, lt=1)
    """The dropout between layers, in place of `network.layer_dropout`."""

    words: int = Field(default=80_000_000, ge=1)
    """The words to read in all. A shorter text is read again."""
    batch_words: int = Field(default=4096, ge=1)
    """The most words of an update."""
    shuffle_window_words: int = Field(default=16_000_000, ge=1)
    """The words that are shuffled together in memory. A longer text is streamed from disk."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """The highest learning rate of AdamW."""
    warmup_steps: int = Field(default=300, ge=1)
    """The updates over which the learning rate rises from zero."""
    final_learning_rate_share: float = Field(default=0.02, ge=0, le=1)
    """The share of `learning_rate`, 0 to 1, that is left at the last word."""
    weight_decay: float = Field(default=0.01, ge=0)
    """The weight decay of matrices. The embedding and biases do not decay."""
    gradient_clip: float = Field(default=5.0, gt=0)
    """The largest norm of the gradient without the embedding. A longer one is shortened."""

    evaluation_steps: int = Field(default=2000, ge=1)
    """The updates between two evaluations. The run also ends with one."""
    evaluation_sentences: int = Field(default=2000, ge=1)
    """The most held-out sentences of an evaluation."""
    evaluation_words: int = Field(default=20_000, ge=2)
    """The most frequent words, at least 2, among which an evaluation and `teddy sample` choose."""
    checkpoint_steps: int = Field(default=1000, ge=1)
    """The updates between two checkpoints."""
    checkpoint_seconds: float = Field(default=300.0, gt=0)
    """The seconds after which a checkpoint is written, even before `checkpoint_steps`."""
    mixed_precision: Literal["auto", "fp32", "bf16"] = "auto"
    """The number format of the network: `fp32`, `bf16`, or `auto`, the faster of the two here."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network is trained; `auto`: on a GPU if there is one."""
    threads: int = Field(default=1, ge=0)
    """The CPU threads of torch; 0: one for each core, at most 4."""

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
            reason = "'causal' cannot have network.dense_widths: they mix the two directions"
            yield ("pretrain", "objective"), reason
