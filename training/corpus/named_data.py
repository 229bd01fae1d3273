"""Data named on the command line: one file and how to read it, as a recipe would say it of a corpus."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.spans import Scheme
from teddy.training.corpus.config import CorpusConfig, FormatName
from teddy.training.corpus.corpora import Corpus, load_corpus
from teddy.training.readers.guess import guess_format


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A data file and how to read it; the fields mean what they mean in a recipe (`teddy.training.corpus.config`).

    What is None is guessed from the file.
    """

    path: Path
    form: FormatName | None = None
    token: int | str | None = None
    tag: int | str | None = None
    scheme: Scheme | None = None
    encoding: str = "utf-8"
    label_map: Mapping[str, str] = field(default_factory=dict)
    annotates: tuple[str, ...] | None = None

    def as_corpus(self, labels: Sequence[str]) -> CorpusConfig:
        """Return the file as a corpus that is all dev.

        Raises: DataError when the file cannot be read, or when the fields do not go together or with `labels`.
        """
        stated = {"token": self.token, "tag": self.tag, "scheme": self.scheme, "encoding": self.encoding}
        try:
            "".encode(self.encoding)
        except LookupError:
            raise DataError(self.path, None, f"encoding: unknown encoding {self.encoding!r}") from None
        guessed = guess_format(
            self.path, self.form, **{key: value for key, value in stated.items() if value is not None}
        )
        config = CorpusConfig(
            **guessed.model_dump(),
            name=self.path.name,
            licence="not stated",
            dev=(glob.escape(self.path.name),),
            map=dict(self.label_map),
            annotates=self.annotates,
        )
        for key, reason in config.contradictions(labels):
            raise DataError(self.path, None, f"{'.'.join(map(str, key))}: {reason}")
        return config

    def load(self, labels: Sequence[str]) -> Corpus:
        """Read the file. Raises: DataError, as `teddy.training.corpus.corpora.load_corpus` and `as_corpus` do."""
        return load_corpus(self.as_corpus(labels), labels, self.path.parent, on_misaligned=lambda _: None)
