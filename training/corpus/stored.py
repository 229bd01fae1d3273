"""The corpora of a recipe for a run that need not have them in memory.

They are read as a stream. While they have fewer words than a window for shuffling they stay in memory, packed; a larger
collection is written to a folder of the run (see `teddy.training.corpus.store`) and is not read from its files again
when the run is resumed, as long as the files and the recipe are the same. Dev is always in memory.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from teddy.model.text import TOKENISER_VERSION
from teddy.training.config import Recipe
from teddy.training.corpus.corpora import Corpus, make_corpus, read_corpus
from teddy.training.corpus.held_out import HeldOut
from teddy.training.corpus.misaligned import MisalignedReport
from teddy.training.corpus.store import Blocks, StoredSentences, describe, open_blocks
from teddy.training.corpus.store_writer import BlockWriter
from teddy.training.folders import atomic_folder, remove_abandoned
from teddy.training.readers.files import find_files


def open_corpora(recipe: Recipe, data: Path, folder: Path) -> tuple[list[Corpus], MisalignedReport]:
    """Read all corpora of a recipe, or open what `folder` has of them; and what words cannot express of them.

    `folder` is there afterwards if the corpora have more words than `training.shuffle_window_words`, and must stay
    until they are not needed any more. Raises DataError as `teddy.training.corpus.corpora.load_corpora` does.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made_from = _made_from(recipe, data)
    remove_abandoned(folder)
    if describe(folder).get("made_from") != made_from:
        shutil.rmtree(folder, ignore_errors=True)
        in_memory = _read(recipe, data, folder, made_from)
        if in_memory is not None:
            return in_memory
    return _reopen(recipe, folder)


def _made_from(recipe: Recipe, data: Path) -> dict[str, Any]:
    """All that the content of a folder depends on, as JSON would have it."""
    files = [find_files([*corpus.train, *corpus.dev], data) for corpus in recipe.corpus]
    made_from = {
        "tokeniser_version": TOKENISER_VERSION,
        "labels": recipe.labels,
        "window_words": recipe.training.shuffle_window_words,
        "corpora": [corpus.model_dump(mode="json", exclude={"weight"}) for corpus in recipe.corpus],
        "files": [[_identity(path) for path in paths] for paths in files],
    }
    plain: dict[str, Any] = json.loads(json.dumps(made_from))
    return plain


def _identity(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def _read(
    recipe: Recipe, data: Path, folder: Path, made_from: dict[str, Any]
) -> tuple[list[Corpus], MisalignedReport] | None:
    """What the files hold if it stays in memory; None when it is in the folder."""
    report = MisalignedReport()
    with ExitStack() as stack:
        open_folder = partial(stack.enter_context, atomic_folder(folder))
        writer = stack.enter_context(closing(BlockWriter(recipe.training.shuffle_window_words, open_folder)))
        held_out = [
            read_corpus(config, recipe.labels, data, partial(writer.add, part), report.add)
            for part, config in enumerate(recipe.corpus)
        ]
        if writer.is_on_disk:
            for part, dev in enumerate(held_out, start=len(held_out)):
                for sentence in dev.sentences:
                    writer.add(part, sentence)
        blocks = writer.finish(
            made_from=made_from, misaligned=report.as_json(), n_dropped=[dev.n_dropped for dev in held_out]
        )
    if blocks is None:
        return None
    return [*_corpora(recipe, blocks, held_out)], report


def _corpora(recipe: Recipe, blocks: Blocks, held_out: Sequence[HeldOut]) -> Iterator[Corpus]:
    for part, (config, dev) in enumerate(zip(recipe.corpus, held_out, strict=True)):
        train = StoredSentences(blocks, part, config.name)
        yield make_corpus(config, recipe.labels, train, dev.sentences, dev.n_dropped)


def _reopen(recipe: Recipe, folder: Path) -> tuple[list[Corpus], MisalignedReport]:
    blocks, description = open_blocks(folder), describe(folder)
    n_corpora = len(recipe.corpus)
    corpora = [
        make_corpus(
            config,
            recipe.labels,
            StoredSentences(blocks, part, config.name),
            [*StoredSentences(blocks, n_corpora + part, config.name)],
            description["n_dropped"][part],
        )
        for part, config in enumerate(recipe.corpus)
    ]
    return corpora, MisalignedReport.from_json(description["misaligned"])
