"""A recipe for the student of given teachers, and sentences that they have tagged for it.

Training goes by annotated sentences, and is measured on some. Where there are none, the teachers
tag a part of the text: as much as is read in each epoch, of which each tenth sentence is for dev.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from teddy.model.errors import DataError, UnknownLabelError
from teddy.model.system.files import write_atomically
from teddy.model.system.toml import dump_toml
from teddy.model.tags.spans import Scheme, write_tags
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.words import TOKENISER_VERSION, Tokeniser
from teddy.training.data.corpora import read_corpus
from teddy.training.data.raw_text import RawText, Words, as_sentence
from teddy.training.data.rules import Rules
from teddy.training.data.shelf import Shelf
from teddy.training.distillation.teachers import TAGGED, found_by
from teddy.training.draft.survey import model_to_start_from
from teddy.training.learning.distill import Distillation, open_teacher
from teddy.training.learning.hugging_face import PREFIX, find_folder, labels_in
from teddy.training.learning.panel import Note
from teddy.training.learning.readings import Readings
from teddy.training.recipe.corpus_config import CorpusConfig
from teddy.training.recipe.recipe import ExportConfig
from teddy.training.recipe.sections import DistillConfig

_DEV_EVERY = 10
_FEWEST_DEV = 20
"""Where the text has so few sentences, more of them are for dev."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person wants of a student."""

    name: str
    teachers: tuple[str, ...]
    labels: tuple[str, ...]
    text: tuple[str, ...]
    text_name: str
    licence: str
    label_map: Mapping[str, str]
    pooling: str
    language: str
    words: int
    train: tuple[str, ...]
    dev: tuple[str, ...]
    data: Path
    output: Path
    """The folder of the run; the recipe, the tagged sentences and the readings are beside it."""

    @property
    def recipe(self) -> Path:
        """The recipe's file."""
        return self.output.with_name(f"{self.output.name}.toml")

    @property
    def tagged(self) -> Path:
        """The folder of the sentences that teachers tag."""
        return self.output.with_name(f"{self.output.name}-{TAGGED}")

    @property
    def keep(self) -> Path:
        """The folder of what teachers say, for all students beside this one."""
        return self.output.with_name("teachers")

    def distill(self, **changes: Any) -> DistillConfig:
        """Return the table `[distill]`."""
        return DistillConfig(
            teachers=self.teachers,
            map=dict(self.label_map),
            pooling="mean" if self.pooling == "mean" else "first",
            text=self.text,
            name=self.text_name,
            licence=self.licence,
            words=self.words,
            changed=not any(name.startswith(PREFIX) for name in self.teachers),
            keep=str(self.keep),
            **changes,
        )

    def draw(self) -> str:
        """Return the recipe."""
        tokeniser = Tokeniser(TOKENISER_VERSION, self.language)
        sample = " ".join(map(" ".join, _sentences(self, tokeniser, 1_000)))
        start = model_to_start_from(sample)
        stated = {"labels", "teachers", "map", "pooling", "text", "name", "licence", "words"}
        table = self.distill().model_dump(mode="json", include=stated | {"changed", "keep"})
        recipe: dict[str, Any] = {
            "name": self.name,
            "language": self.language,
            "labels": list(self.labels),
            **({"start": {"weights": start}} if start else {}),
            "corpus": [*self._corpora()],
            "distill": table,
        }
        head = "# The student of teachers, by `teddy distill`. docs/recipes.md lists all keys."
        return f"{head}\n{dump_toml(recipe)}"

    def annotated(self) -> Iterator[dict[str, Any]]:
        """Yield the corpora that are annotated, as a recipe has them."""
        for name, files in (("train", self.train), ("dev", self.dev)):
            if files:
                label_map = {"map": dict(self.label_map)} if self.label_map else {}
                yield {"name": name, "licence": "not stated", name: list(files), **label_map}

    def _corpora(self) -> Iterator[dict[str, Any]]:
        yield from self.annotated()
        if not (self.train and self.dev):
            folder = os.path.relpath(self.tagged, self.data)
            parts = [part for part in ("train", "dev") if not getattr(self, part)]
            yield {
                "name": TAGGED,
                "licence": self.licence,
                "source": f"{self.text_name}, tagged by {', '.join(self.teachers)}",
                "format": "conll",
                "scheme": "bio",
                **{part: [f"{folder}/{part}.conll"] for part in parts},
            }


def labels_of(order: Order) -> tuple[str, ...]:
    """Return the labels that the teachers have, mapped, in their order.

    Raises as `open_distillation` does for teachers that cannot be read.
    """
    found: dict[str, None] = {}
    for name in order.teachers:
        if name.startswith(PREFIX):
            folder = find_folder(name, order.data)
            found |= dict.fromkeys(labels_in(folder, order.label_map))
        else:
            teacher = open_teacher(name, DistillConfig(), order.data, ())
            found |= dict.fromkeys(teacher.tag_set.labels)
    return tuple(found)


def check_annotations(order: Order) -> None:
    """Read the annotated files, which takes seconds: what is wrong in them costs no teacher's time.

    Raises DataError.
    """
    tokeniser = Tokeniser(TOKENISER_VERSION, order.language)
    for fields in order.annotated():
        config = CorpusConfig.model_validate_json(json.dumps(fields))
        rules = Rules(config, order.labels)
        try:
            read_corpus(rules, order.data, tokeniser, lambda _: None, lambda _: None)
        except UnknownLabelError as error:
            student = f"the student's are {', '.join(order.labels)}: see --map and --labels"
            raise DataError(error.path, error.line, f"{error.reason}; {student}") from error


def tag_text(order: Order, note: Note) -> None:
    """Have the teachers tag sentences to train on and to measure on."""
    parts = [part for part in ("train", "dev") if not getattr(order, part)]
    paths = {part: order.tagged / f"{part}.conll" for part in parts}
    if not parts:
        return
    config = order.distill().model_copy(update={"text": ()})
    tokeniser = Tokeniser(TOKENISER_VERSION, order.language)
    sentences = [
        as_sentence(words, tokeniser) for words in _sentences(order, tokeniser, order.words)
    ]
    every = min(_DEV_EVERY, max(2, len(sentences) // _FEWEST_DEV))
    divided = {
        "train": [each for number, each in enumerate(sentences) if number % every],
        "dev": sentences[::every],
    }
    teachers = Distillation(
        config,
        [open_teacher(name, config, order.data, order.labels) for name in config.teachers],
        TagSet(order.labels),
        None,
        longest=ExportConfig().window_words,
        batch_words=1,
        seed=0,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        mixed_precision="fp32",
        readings=Readings(Shelf(order.keep, note)),
        corpora=[divided[part] for part in parts],
        note=note,
    )
    teachers.prepare(0)
    predict = found_by(teachers, order.labels)
    order.tagged.mkdir(parents=True, exist_ok=True)
    for part, path in paths.items():
        words = [each.words for each in divided[part]]
        lines = []
        for each, found in zip(words, predict(words), strict=True):
            tags = write_tags([scored.span for scored in found], len(each), Scheme.BIO)
            lines += [*(f"{word} {tag}" for word, tag in zip(each, tags, strict=True)), ""]
        write_atomically(path, "\n".join(lines))


def _sentences(order: Order, tokeniser: Tokeniser, n_words: int) -> list[Words]:
    """Return sentences of so many words, from the passages that epochs come to last."""
    text = RawText(order.text, order.data, tokeniser)
    shelved = Shelf(order.keep).of_text(text, ExportConfig().window_words)
    found: list[Words] = []
    for place in reversed(range(len(text))):
        for words in shelved.sentences(place):
            found.append(words)
            n_words -= len(words)
            if n_words <= 0:
                return found
    return found
