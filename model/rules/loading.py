"""From a file of rules to rules that are ready: its dictionaries read, its expressions compiled."""

import hashlib
from pathlib import Path

from teddy.model.errors import RulesError
from teddy.model.rules.builtins import make_builtin
from teddy.model.rules.config import (
    BuiltinConfig,
    ContextConfig,
    DictionaryConfig,
    NeverConfig,
    PatternConfig,
    RuleConfig,
    RulesFile,
)
from teddy.model.rules.dictionary import Dictionary
from teddy.model.rules.entries import read_entries
from teddy.model.rules.merging import MODEL
from teddy.model.rules.patterns import Expression, Expressions
from teddy.model.rules.rules import Refine, Rule, Rules
from teddy.model.rules.token_patterns import TokenPatterns
from teddy.model.text.words import Tokeniser

MOST_RULES = 1000
MOST_LABELS = 1000
"""Of all rules together: metrics have a series for each rule, and for each label."""


def load_rules(
    path: Path | str, tokeniser: Tokeniser | None = None, *, copies: Path | None = None
) -> Rules:
    """Read a file of rules, and the files that it names, for words that `tokeniser` cuts.

    Without one, words are cut by the newest rules for the `language` in the file. `copies` is a
    folder with copies of all files, named by `copy_name`, which are read in their place.

    Raises RulesError, with the file and the line, for what is refused, and MissingExtraError.
    """
    path = Path(path)
    file = RulesFile(path, copies and copies / copy_name(0, path))
    tokeniser = tokeniser or Tokeniser(language=file.config.language)
    return _Builder(file, tokeniser, copies).build()


def copy_name(number: int, path: Path) -> str:
    """Return the name of a copy of `Rules.paths[number]`."""
    return f"{number}-{path.name}"


class _Builder:
    """Makes one rule after another ready."""

    def __init__(self, file: RulesFile, tokeniser: Tokeniser, copies: Path | None) -> None:
        self._file = file
        self._copies = copies
        self._tokeniser = tokeniser
        self._dictionary = Dictionary(tokeniser)
        self._tokens = TokenPatterns()
        self._expressions: list[Expression] = []
        self._refine: dict[int, Refine] = {}
        self._rules: list[Rule] = []
        self._paths = [file.path]
        self._digest = hashlib.sha256(file.content)

    def build(self) -> Rules:
        """Make all rules of the file ready."""
        names: set[str] = {MODEL}
        for table, number, config in self._file.config.rules():
            name = config.name or _name_of(table, number, config)
            if name in names:
                said = "is the source of the model's entities" if name == MODEL else "comes twice"
                raise self._file.error((table, number, "name"), f"name: {name!r} {said}")
            names.add(name)
            try:
                self._rules.append(self._make(table, name, config))
            except ValueError as error:
                raise self._file.error((table, number), str(error)) from None
            if len(self._rules) > MOST_RULES:
                raise self._file.error((table, number), f"more than {MOST_RULES} rules")
        labels = {label for rule in self._rules for label in rule.labels}
        if len(labels) > MOST_LABELS:
            raise RulesError(self._file.path, None, f"more than {MOST_LABELS} labels")
        return Rules(
            path=self._file.path,
            paths=tuple(self._paths),
            version=self._digest.hexdigest()[:12],
            language=self._tokeniser.language,
            rules=tuple(self._rules),
            dictionary=self._dictionary,
            tokens=self._tokens,
            expressions=Expressions(self._expressions),
            refine=self._refine,
        )

    def _make(self, table: str, name: str, config: RuleConfig) -> Rule:
        """Make a rule ready. Raises ValueError for an expression that is none, and as its files."""
        if isinstance(config, NeverConfig):
            n_entries = None
            if config.pattern:
                self._add_expression(config.pattern, fold=config.case == "fold")
            else:
                listed = DictionaryConfig(
                    file=config.file, entries=config.entries, label="-", case=config.case
                )
                _, n_entries = self._add_names(listed)
            return Rule(name=name, kind=table, use=None, labels=config.labels, n_entries=n_entries)
        n_entries = None
        if isinstance(config, DictionaryConfig):
            labels, n_entries = self._add_names(config)
        elif isinstance(config, PatternConfig):
            self._add_expression(config.pattern, fold=config.case == "fold")
            labels = (config.label,)
        else:
            labels = self._add_builtin(config)
        return Rule(
            name=name,
            kind=table,
            use=config.use,
            labels=labels,
            n_entries=n_entries,
            score=config.base_score,
            min_score=config.min_score,
            context=tuple(map(self._context, config.context)),
        )

    def _context(self, context: ContextConfig) -> ContextConfig:
        """Return a context whose words are cut as texts are, in small letters."""
        cut = (" ".join(self._tokeniser.split_words(each)[2]) for each in context.words)
        return context.model_copy(update={"words": tuple(each.casefold() for each in cut)})

    def _add_names(self, config: DictionaryConfig) -> tuple[tuple[str, ...], int]:
        """Add the names of a dictionary; return their labels and their number."""
        rule = len(self._rules)
        add, case, least = self._dictionary.add, config.case, config.min_length
        self._dictionary.allow_endings(rule, config.endings)
        labels: dict[str, None] = {}
        for entry in config.entries:
            if len(entry) >= least:
                add(rule, entry, config.label, "", case)
                labels[config.label] = None
        if config.file:
            path = self._file.path.parent / config.file
            source = self._note(path)
            for line, name, label, entry_id in read_entries(config, source):
                if not isinstance(name, str):
                    try:
                        self._tokens.add(rule, name, label, entry_id)
                    except ValueError as error:
                        raise RulesError(path, line, str(error)) from None
                    labels[label] = None
                elif len(name) >= least:
                    add(rule, name, label, entry_id, case)
                    labels[label] = None
                if len(labels) > MOST_LABELS:
                    raise RulesError(path, line, f"more than {MOST_LABELS} labels")
        n_entries = self._dictionary.n_entries.get(rule, 0) + self._tokens.n_patterns.get(rule, 0)
        return tuple(labels), n_entries

    def _note(self, path: Path) -> Path:
        """Count a file among those that were read; return where to read it."""
        source = self._copies / copy_name(len(self._paths), path) if self._copies else path
        self._paths.append(path)
        try:
            with source.open("rb") as file:
                while part := file.read(2**20):
                    self._digest.update(part)
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
            raise RulesError(path, None, f"cannot be read: {reason}") from None
        return source

    def _add_expression(self, source: str, *, fold: bool) -> None:
        self._expressions.append(Expression.of(len(self._rules), source, fold=fold))

    def _add_builtin(self, config: BuiltinConfig) -> tuple[str, ...]:
        made = make_builtin(config)
        for source in made.sources:
            self._add_expression(source, fold=False)
        if made.refine:
            self._refine[len(self._rules)] = made.refine
        return (config.label or config.kind.upper(),)


def _name_of(table: str, number: int, config: RuleConfig) -> str:
    """Return the name of a rule that is given none."""
    if isinstance(config, BuiltinConfig):
        return config.kind
    file = getattr(config, "file", "")
    stem = Path(file).name.partition(".")[0] if file else ""
    return stem if stem.isascii() and stem.isidentifier() else f"{table}-{number + 1}"
