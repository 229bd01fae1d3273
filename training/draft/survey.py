"""What data files hold, as far as a first recipe depends on it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from teddy.model.errors import DataError
from teddy.model.file.bundle import read_bundle
from teddy.model.file.shipped import shipped_models
from teddy.model.text.words import Tokeniser
from teddy.training.check.reading import readable
from teddy.training.data.align import OFF_BORDERS, align
from teddy.training.data.fitting import fit, is_too_many
from teddy.training.data.readers import Example, read_examples
from teddy.training.data.readers.guess import Guess, guess_file, is_binary
from teddy.training.recipe.corpus_config import OUTSIDE, UNKNOWN, FormatConfig

Role = Literal["train", "dev", "test"]
_ROLES: dict[str, Role] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "development", "val", "valid", "validation", "testa"), "dev"),
    **dict.fromkeys(("test", "testb"), "test"),
}
_ENDINGS = re.compile(
    r"(?i)txt|conll(u|up)?|iob2?|bio(es)?|bmes|[tc]sv|(nd)?jsonl?|spacy|parquet|arrow|xml|md|"
    r"xz|gz|bz2"
)
_NO_DATA = re.compile(
    r"(?i)(\..*|(readme|licen[cs]e|copying|changelog)\b.*|.*\.(toml|py|html|pdf))"
)
"""Files beside data that are none."""
_MENDED: tuple[dict[str, Any], ...] = (
    {"encoding": "cp1252"},
    {"skip_empty_tokens": True},
    {"misaligned": "expand"},
)
"""What is tried in turn, and kept where less is wrong with it."""
_MOST_ACCENTS = 0.2
"""Of letters of a Western encoding; with more, it is another one."""
_SAMPLE_CHARACTERS = 100_000
_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
_MARK = re.compile(r"\w{2,3}:")


@dataclass(slots=True, kw_only=True)
class FileSurvey:
    """What one file, or folder of a format, holds."""

    name: str
    """Below the folder of the data."""
    role: Role
    options: dict[str, Any] = field(default_factory=dict)
    """Keys that no reader guesses and that the file needs."""
    guess: Guess | None = None
    """How it is read; None where that cannot be said."""
    errors: list[DataError] = field(default_factory=list)
    documents: list[frozenset[str]] = field(default_factory=list)
    """The labels of each, as the file has them."""
    labels: Counter[str] = field(default_factory=Counter)
    n_lost: int = 0
    """Spans that words cannot express."""
    n_words: int = 0
    sample: str = ""
    """Its first characters."""

    @property
    def loses_too_many(self) -> bool:
        """Whether training would refuse the file for the spans that are lost."""
        return is_too_many(self.n_lost, self.labels.total())

    def badness(self) -> tuple[int, int]:
        """Return what is wrong with this way of reading: less is better."""
        n_lost = self.n_lost if self.loses_too_many else 0
        return (len(self.errors) + (self.guess is None) * 1000, n_lost)


def survey(sources: Sequence[str], data: Path) -> list[FileSurvey]:
    """Return what files and folders below `data` hold; what is wrong with them is in there too.

    A folder that is no format of its own stands for the files in it. A name says whether a file is
    for training, dev or test; without any for training, all are.
    """
    found = [_survey_file(name, data) for source in sources for name in _files(source, data)]
    if not any(each.role == "train" for each in found):
        for each in found:
            each.role = "train"
    return found


def name_of(source: str) -> str:
    """Return a name for the model of this file: of its own name, or of its folder's."""
    for part in reversed(Path(source).absolute().parts):
        words = re.split(r"[\W_]+", part)
        words = [word for word in words if word.lower() not in _ROLES]
        kept = [word for word in words if word and not _ENDINGS.fullmatch(word)]
        if kept:
            return "-".join(kept)
    return "mine"


def role_of(name: str) -> Role:
    """Return what the name of a file says that it is for."""
    words = re.split(r"[\W_]+", Path(name).name.lower())
    return next((_ROLES[word] for word in words if word in _ROLES), "train")


def _files(source: str, data: Path) -> Iterator[str]:
    folder = data / source
    if not folder.is_dir() or is_binary(folder) or any(folder.rglob("*.ann")):
        yield source
        return
    names = sorted(each.name for each in folder.iterdir() if each.is_file())
    data_names = [name for name in names if not _NO_DATA.fullmatch(name)]
    yield from (str(Path(source) / name) for name in data_names)
    if not data_names:
        yield source  # which cannot be read, and says so


def _survey_file(name: str, data: Path) -> FileSurvey:
    """Read a file in the way that leaves the least unread."""
    best = _read(name, data, {})
    for mending in _MENDED:
        if best.badness() == (0, 0) or best.role == "test":
            break
        other = _read(name, data, best.options | mending)
        is_western = "encoding" not in mending or _is_western(other.sample)
        if is_western and other.badness() < best.badness():
            best = other
    return best


def _read(name: str, data: Path, options: Mapping[str, Any]) -> FileSurvey:
    """Read a file in one way, to its end, whatever cannot be read in between."""
    found = FileSurvey(name=name, role=role_of(name), options=dict(options))
    path, config = data / name, FormatConfig(**options)
    try:
        found.guess = guess_file(path, config)
        if found.role == "test":
            return found
        config, found.options = _with_tokens(path, found.guess.options, found.options)
    except DataError as error:
        found.errors.append(error)
        return found
    last: tuple[int, str] | None = None
    for example in readable(path, config, read_examples, found.errors.append):
        _count(found, example, config, is_new=(example.document, example.path) != last)
        last = (example.document, example.path)
    if any(label in (OUTSIDE, "") for label in found.labels) and config.spans == "tags":
        found.options["outside"] = [f"{prefix}-{OUTSIDE}" for prefix in "BIES"]
        del found.labels[OUTSIDE]
    return found


def _count(found: FileSurvey, example: Example, config: FormatConfig, *, is_new: bool) -> None:
    fitted = fit(example, config, Tokeniser(), lambda _: None)
    lost: list[str] = []
    for sentence in align(fitted, "", Tokeniser(), lambda item: lost.append(item.reason)):
        found.n_words += len(sentence.words)
    found.n_lost += lost.count(OFF_BORDERS)
    labels = [span.label for span in example.spans if span.label != UNKNOWN]
    found.labels.update(labels)
    if is_new:
        found.documents.append(frozenset(labels))
    else:
        found.documents[-1] |= frozenset(labels)
    if len(found.sample) < _SAMPLE_CHARACTERS:
        found.sample += f"{example.text}\n"


def _with_tokens(
    path: Path, config: FormatConfig, options: dict[str, Any]
) -> tuple[FormatConfig, dict[str, Any]]:
    """Add how tokens are cleaned and joined, if the head of the file shows that they must be."""
    head = _head(path, config)
    tokens = [each.text[start:end] for each in head for start, end in each.tokens]
    added: dict[str, Any] = {}
    marks = {mark[0] if (mark := _MARK.match(token)) else "" for token in tokens}
    if len(marks) == 1 and marks != {""} and len(tokens) > 1:
        added["token_strip"] = f"^{marks.pop()}"
    elif tokens and all(re.fullmatch(r"\D\d", token) for token in tokens):
        added["token_strip"] = r"\d$"  # noqa: S105 - no secret
    if tokens and share_of_letters("".join(tokens), _SPACELESS) > 0.5:
        added |= {"join": "", "keep_apart": True}
    return config.model_copy(update=added), options | added


def _head(path: Path, config: FormatConfig) -> list[Example]:
    """Return the first examples that can be read."""
    found: list[Example] = []
    for example in readable(path, config, read_examples, lambda _: None):
        found.append(replace(example, meta={}))
        if len(found) == 50:
            break
    return found


def share_of_letters(text: str, scripts: Iterable[str]) -> float:
    """Return the share of the letters, 0 to 1, whose Unicode name begins with a script."""
    letters = Counter(filter(str.isalpha, text[:_SAMPLE_CHARACTERS]))
    names = {letter: unicodedata.name(letter, "") for letter in letters}
    ours = sum(n for letter, n in letters.items() if names[letter].startswith(tuple(scripts)))
    return ours / letters.total() if letters else 0.0


def model_to_start_from(text: str) -> str | None:
    """Return the name of the model that ships whose words cover most of a text.

    None where most letters are not Latin: the models that ship have read no other script.
    """
    if share_of_letters(text, ("LATIN",)) <= 0.5:
        return None
    words = re.findall(r"\w+", text[:_SAMPLE_CHARACTERS].casefold())
    known = {name: set(read_bundle(path).words) for name, path in shipped_models().items()}
    return max(known, key=lambda name: sum(word in known[name] for word in words))


def _is_western(sample: str) -> bool:
    letters = [each for each in sample if each.isalpha()]
    return sum(not each.isascii() for each in letters) <= _MOST_ACCENTS * len(letters)
