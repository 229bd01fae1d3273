"""A recipe: everything that decides what a training run does, as one typed value of one TOML file.

A key that the recipe does not know, and a value out of range, are refused with the file, the line
and the full name of the key. `Recipe.dump_toml` writes the resolved recipe, defaults included, so
that it can be saved beside the result and read back.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.errors import RecipeError
from teddy.model.file.bundle import TrainingData
from teddy.model.system.toml import (
    KeyPath,
    MisfitError,
    dotted,
    dump_toml,
    line_of,
    problems,
    put_override,
)
from teddy.model.text.sentences import SentenceMode
from teddy.model.text.words import READABLE_VERSIONS, TOKENISER_VERSION, Tokeniser
from teddy.training.recipe.corpus_config import (
    CorpusConfig,
    RuleConfig,
    Table,
    rule_contradictions,
    unfit_label,
)
from teddy.training.recipe.search_config import SearchConfig
from teddy.training.recipe.sections import (
    AugmentConfig,
    CardConfig,
    DistillConfig,
    PretrainConfig,
    TransformerConfig,
    UpdateConfig,
)
from teddy.training.recipe.words import EmbeddingConfig, LexiconConfig, PiecesConfig


class StartConfig(Table):
    """Trained weights that the network starts from, instead of random ones."""

    weights: str = ""
    """An encoder file, a model file or a checkpoint, below `--data` or the working directory; or
    a model that ships (`en`). Its pieces and words are used, and `features` and the shape of
    `network` are those of the file. A key of theirs that is neither the default nor what the file
    has is an error; but fewer `features.word_rows` leave the rarest words without a row."""
    learning_rate_share: float = Field(default=1.0, ge=0, le=1)
    """The share of the learning rate, 0 to 1, at which the embedding and the encoder learn."""


class TrainingConfig(Table):
    """The training loop."""

    epochs: int = Field(default=30, ge=1)
    """The most passes over the training data. If you leave it out, more for small data."""
    batch_words: int = Field(default=600, ge=1)
    """The most words of an update, padding included. If you leave it out, fewer for small data."""
    shuffle_window_words: int = Field(default=4_000_000, ge=1)
    """The words that are shuffled together in memory. Larger corpora are streamed from disk (see
    docs/large-corpora.md)."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """The highest learning rate of AdamW."""
    schedule_share: float = Field(default=1.0, gt=0, le=1)
    """The share of all updates, above 0 to 1, over which the learning rate rises and falls; the
    rest learns at what is left of it. If you leave it out, less for small data."""
    warmup_share: float = Field(default=0.05, ge=0, le=1)
    """The share of those updates, 0 to 1, over which the learning rate rises from zero."""
    final_learning_rate_share: float = Field(default=0.02, ge=0, le=1)
    """The share of `learning_rate`, 0 to 1, that is left at the last of them."""
    weight_decay: float = Field(default=0.01, ge=0)
    """The weight decay of matrices. The embedding, biases and the CRF do not decay."""
    parts: int = Field(default=0, ge=0)
    """The parts that a batch is cut into; 0: one for each process. Dropout is drawn for each part,
    so that with `parts` given, any number of processes learns the same (docs/distributed.md)."""
    gradient_clip: float = Field(default=5.0, gt=0)
    """The largest norm of the gradient. A longer one is shortened."""
    word_dropout: float = Field(default=0.1, ge=0, lt=1)
    """The probability that a word is replaced by the unknown word."""
    feature_dropout: float = Field(default=0.25, ge=0, lt=1)
    """The probability that a word loses all its features of one kind (pieces, shape, affixes,
    whole word)."""
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    """The decay of the exponential moving average of the weights; 0: no average. The average is
    evaluated and exported."""
    patience: int = Field(default=8, ge=0)
    """The evaluations without a better dev F1 after which training stops; 0: never. They count
    from the first F1 above 0. If you leave it out, as many as make 400 updates, at least 8."""
    evaluations_per_epoch: float = Field(default=1.0, gt=0)
    """The evaluations on dev in each epoch; 0.5: one in two epochs. If you leave it out, at most 30
    in a run that has more epochs than usual."""
    checkpoint_seconds: float = Field(default=300.0, gt=0)
    """The seconds between two checkpoints. One is also written after each evaluation."""
    mixed_precision: Literal["auto", "fp32", "bf16"] = "auto"
    """The number format of the network: `fp32`, `bf16`, or `auto`, the faster of the two here."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network is trained; `auto`: on a GPU if there is one."""
    threads: int = Field(default=1, ge=0)
    """The CPU threads of torch; 0: one for each core, at most 4. (CoNLL-2003 on two quiet cores: 17
    s an epoch with two threads, 18 with one; beside other work a run took 9 min, not 6 to 8.)"""
    explode_factor: float = Field(default=100.0, gt=1)
    """The run stops at a loss of so many times the median of recent ones."""


class ExportConfig(Table):
    """What the model file holds beside the network."""

    window_words: int = Field(default=128, ge=3)
    """The most words that the network reads together, at least 3. A longer sentence is read in
    overlapping windows."""
    window_overlap: int = Field(default=32, ge=2)
    """The words that neighbouring windows share, at least 2 and fewer than `window_words`."""
    sentences: SentenceMode = "document"
    """How the model cuts texts where a request does not say it: `document`, by their stops, lines
    and gaps; `lines`, each line is one sentence."""
    canary: tuple[str, ...] = ()
    """Texts that are tagged whenever the model file is loaded. The entities found at its export
    must come out again."""

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        if self.window_overlap >= self.window_words:
            raise MisfitError(("window_overlap",), "must be smaller than window_words")
        return self


class Recipe(Table):
    """A whole recipe."""

    name: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    """The name of the model and of its file, `NAME.teddy`: letters, digits and `_ . -`."""
    language: str = ""
    """The code of the texts' language, such as `en`. It decides which clitics are words of their
    own: `l'` in French, `-se` in Portuguese (see docs/words.md)."""
    tokeniser_version: int = Field(
        default=TOKENISER_VERSION, ge=READABLE_VERSIONS[0], le=READABLE_VERSIONS[-1]
    )
    """The rules by which texts are split into words. 1 is for a model that must go on with the
    words of an older one."""
    seed: int = Field(default=1, ge=0)
    """The seed of all random numbers. Equal seeds give equal runs."""
    labels: tuple[str, ...] = ()
    """The labels of entities, in the order in which the model numbers them."""
    corpus: tuple[CorpusConfig, ...] = ()
    """The corpora to train on. With a `pretrain` table, `labels` and `corpus` may be missing."""
    rules: tuple[RuleConfig, ...] = ()
    """Rules for the spans of all corpora, by the labels of the recipe: one convention for all. They
    come after the `map` and the `rules` of each corpus."""
    pretrain: PretrainConfig | None = None
    """The settings of `teddy pretrain`."""
    pieces: PiecesConfig = PiecesConfig()
    features: FeatureConfig = FeatureConfig()
    network: NetworkConfig = NetworkConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    lexicon: tuple[LexiconConfig, ...] = ()
    """Classes of words, as a feature."""
    start: StartConfig = StartConfig()
    transformer: TransformerConfig | None = None
    """A pre-trained transformer below the recurrent layers: such a run makes a teacher."""
    training: TrainingConfig = TrainingConfig()
    augment: AugmentConfig = AugmentConfig()
    distill: DistillConfig | None = None
    """Teachers that the network learns from, beside the annotations."""
    update: UpdateConfig | None = None
    """A model that learns on, instead of a new network."""
    search: SearchConfig | None = None
    """The values that `teddy search` tries. All other keys keep theirs."""
    export: ExportConfig = ExportConfig()
    card: CardConfig = CardConfig()
    """Texts for the model card, beside the measurements."""

    @model_validator(mode="after")
    def _check_across_tables(self) -> Self:
        if found := list(_contradictions(self)):
            first, *others = found
            raise MisfitError(*first, *others)
        return self

    @classmethod
    def of_run(cls, text: str) -> Self:
        """Return the recipe that a run has dumped, as its checkpoints carry it."""
        # One from before there were two tokenisers does not name the first.
        values = {"tokeniser_version": 1, **tomllib.loads(text)}
        return cls.model_validate_json(json.dumps(values))

    @property
    def tokeniser(self) -> Tokeniser:
        """What splits the texts, in training and wherever the model is used."""
        return Tokeniser(self.tokeniser_version, self.language)

    @property
    def credits(self) -> tuple[TrainingData, ...]:
        """What the weights that a run starts from must credit, but for `start` and teachers."""
        transformer = (self.transformer.credit,) if self.transformer else ()
        return (*self.embedding.credit, *(each.credit for each in self.lexicon), *transformer)

    def dump_toml(self) -> str:
        """Return the recipe as TOML with defaults; `load_recipe` reads an equal one from it."""
        return dump_toml(self.model_dump(mode="json", exclude_none=True))


def load_recipe(
    path: Path | str,
    overrides: Sequence[str] = (),
    *,
    purpose: Literal["train", "pretrain"] = "train",
) -> Recipe:
    """Read a recipe, with `overrides` such as ``training.epochs=3`` or ``corpus.0.weight=2``.

    Raises RecipeError, naming file and line (or the override) and the full key, for a file that
    cannot be read, that is not TOML, or that has an unknown key, a bad value, or not the tables
    that the purpose needs. All unknown keys and bad values are told, a line for each; without any,
    all values that do not go together.
    """
    text, values = _read(path)
    overridden: dict[KeyPath, str] = {}
    for override in overrides:
        try:
            overridden[put_override(values, override)] = override
        except ValueError as error:
            raise RecipeError(path, None, f"--set {override}: {error}") from None
    try:
        recipe = Recipe.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        first, *others = (
            _refused(path, text, overridden, *each) for each in problems(error, Recipe)
        )
        raise RecipeError(path, first.line, "\n".join([first.reason, *map(str, others)])) from None
    if purpose == "pretrain" and recipe.pretrain is None:
        reason = "pretrain: missing: a [pretrain] table says what text to learn from"
        raise RecipeError(path, None, reason)
    if purpose == "train" and not recipe.corpus:
        reason = "corpus: missing: this recipe is for `teddy pretrain` only"
        raise RecipeError(path, None, reason)
    return recipe


def _refused(
    path: Path | str, text: str, overridden: Mapping[KeyPath, str], location: KeyPath, reason: str
) -> RecipeError:
    """Return the error for one key: with its line, or the override that has set it."""
    reason = f"{dotted(location)}: {reason}"
    for override_path, override in overridden.items():
        if location[: len(override_path)] == override_path:
            return RecipeError(path, None, f"--set {override}: {reason}")
    return RecipeError(path, line_of(location, text), reason)


def _read(path: Path | str) -> tuple[str, dict[str, Any]]:
    """Return the text of a recipe, and its tables."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except FileNotFoundError:
        raise RecipeError(path, None, "no such file") from None
    except OSError as error:
        raise RecipeError(path, None, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecipeError(path, None, "not a UTF-8 text file") from None
    except tomllib.TOMLDecodeError as error:
        # The message ends with "(at line 3, column 5)" or "(at end of document)".
        message, _, place = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", place)
        line = int(found[1]) if found else text.count("\n") + 1
        raise RecipeError(path, line, f"not valid TOML: {message}") from None


def _misplaced_vectors(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Yield why vectors that the recipe names cannot be used with the rest of it."""
    place = ("embedding", "vectors")
    if recipe.start.weights:
        reason = "brings the embedding that its encoder has learnt to read"
        yield place, f"cannot stand beside start.weights, which {reason}"
    if not recipe.features.word_rows:
        reason = "must be above 0 where embedding.vectors is given: vectors need rows"
        yield ("features", "word_rows"), reason


def _contradictions(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Yield what no single table can see: the key at fault, and why."""
    if recipe.embedding.vectors:
        yield from _misplaced_vectors(recipe)
    if recipe.pretrain is not None:
        yield from recipe.pretrain.contradictions(recipe.network)
        if not recipe.labels and not recipe.corpus:
            return
    for key in ("labels", "corpus"):
        if not getattr(recipe, key):
            yield (key,), "must not be empty" if key in recipe.model_fields_set else "missing"
            return
    if recipe.transformer and (recipe.start.weights or recipe.update):
        reason = "cannot stand beside start.weights or update, whose network has another shape"
        yield ("transformer",), reason
    yield from recipe.augment.contradictions(recipe.labels)
    if recipe.distill is not None:
        updates = recipe.update is not None
        yield from recipe.distill.contradictions(recipe.labels, updates=updates)
    if recipe.update is not None:
        yield from recipe.update.contradictions(recipe.corpus)
    for location, reason in recipe.card.contradictions(recipe.labels):
        yield ("card", *location), reason
    for place, label in enumerate(recipe.labels):
        if reason := unfit_label(label):
            yield ("labels", place), f"{label!r} cannot be a label: {reason}"
        if label in recipe.labels[:place]:
            yield ("labels", place), f"{label!r} is listed twice"
    yield from rule_contradictions(recipe.rules, recipe.labels)
    names = [corpus.name for corpus in recipe.corpus]
    for place, corpus in enumerate(recipe.corpus):
        if corpus.name in names[:place]:
            yield ("corpus", place, "name"), f"{corpus.name!r} is the name of two corpora"
        for location, reason in corpus.contradictions(recipe.labels):
            yield ("corpus", place, *location), reason
    if not any(corpus.train for corpus in recipe.corpus):
        yield ("corpus",), "no corpus has files to train on"
    if not any(corpus.dev or corpus.holdout for corpus in recipe.corpus):
        yield ("corpus",), "no corpus has dev files; give one dev = [...] or holdout = 0.1"
    if recipe.search is not None:
        yield from recipe.search.contradictions(recipe)
