"""Data named on the command line: one file and how to read it, as a recipe would say it of a corpus."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from model.errors import DataError
from model.spans import Scheme
from training.corpora import Corpus, load_corpus
from training.corpus_config import CorpusConfig

FormatName = Literal["conll", "jsonl", "conllu", "csv", "docred"]

_PACKED = (".xz", ".gz", ".bz2")
_ENDINGS: dict[str, FormatName] = {
    ".conll": "conll",
    ".txt": "conll",
    ".tsv": "conll",
    ".bio": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".conllu": "conllu",
    ".csv": "csv",
    ".json": "docred",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A data file and how to read it; the fields mean what they mean in a recipe (`training.corpus_config`)."""

    path: Path
    form: FormatName | None = None
    """None: what the ending of the name tells."""
    token: int | str = 0
    tag: int | str = -1
    scheme: Scheme = Scheme.BIO
    encoding: str = "utf-8"
    label_map: Mapping[str, str] = field(default_factory=dict)

    def as_corpus(self, labels: Sequence[str]) -> CorpusConfig:
        """Return the file as a corpus that is all dev.

        Raises: DataError when the ending tells no format, or when the fields do not go together or with `labels`.
        """
        config = CorpusConfig(
            name=self.path.name,
            licence="not stated",
            dev=(glob.escape(self.path.name),),
            format=self.form or guess_format(self.path),
            token=self.token,
            tag=self.tag,
            scheme=self.scheme,
            encoding=self.encoding,
            map=dict(self.label_map),
        )
        for key, reason in config.contradictions(labels):
            raise DataError(self.path, None, f"{'.'.join(map(str, key))}: {reason}")
        return config

    def load(self, labels: Sequence[str]) -> Corpus:
        """Read the file. Raises: DataError, as `training.corpora.load_corpus` and `as_corpus` do."""
        return load_corpus(self.as_corpus(labels), labels, self.path.parent, on_misaligned=lambda _: None)


def guess_format(path: Path) -> FormatName:
    """Tell the format of a data file, packed or not, from the ending of its name.

    Raises: DataError when the ending is none that we know.
    """
    bare = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    try:
        return _ENDINGS[bare.suffix.lower()]
    except KeyError:
        known = ", ".join(_ENDINGS)
        raise DataError(path, None, f"its ending is none of {known}; say what it is with --format") from None
