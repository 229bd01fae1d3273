"""A data file named on the command line, as a corpus that is all dev."""

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.model.text.words import Tokeniser
from teddy.training.data.corpora import Corpus, load_corpus
from teddy.training.recipe.corpus_config import AUTO, CorpusConfig, FormatName


def file_config(
    path: Path,
    labels: Sequence[str],
    *,
    form: FormatName | None = None,
    encoding: str = "utf-8",
    label_map: Mapping[str, str] | None = None,
    annotates: tuple[str, ...] | None = None,
    **stated: Any,
) -> CorpusConfig:
    """Return a file as a corpus that is all dev.

    The arguments are fields of `recipe.corpus_config`; a format, or a column or scheme in `stated`,
    that is None is guessed when the file is read.

    Raises: DataError when the fields do not go together or with `labels`.
    """
    try:
        "".encode(encoding)
    except LookupError:
        raise DataError(path, None, f"encoding: unknown encoding {encoding!r}") from None
    known = {key: value for key, value in stated.items() if value is not None}
    config = CorpusConfig(
        **known,
        format=form or AUTO,
        encoding=encoding,
        name=path.name,
        licence="not stated",
        dev=(glob.escape(path.name),),
        map=dict(label_map or {}),
        annotates=annotates,
    )
    for key, reason in config.contradictions(labels):
        raise DataError(path, None, f"{'.'.join(map(str, key))}: {reason}")
    return config


def load_file(path: Path, labels: Sequence[str], tokeniser: Tokeniser, **stated: Any) -> Corpus:
    """Read a file as a corpus that is all dev; `stated` are further arguments of `file_config`.

    Raises: DataError, as `load_corpus` and `file_config` do.
    """
    return load_corpus(file_config(path, labels, **stated), labels, path.parent, tokeniser)
