"""A token classifier of Hugging Face's transformers as a teacher; needs the extra `transformers`.

What its classes mean is in `teddy.training.learning.classes`. A word's distribution over them is
that of its first piece, or the mean over its pieces. A sentence that is longer than the model reads
is read in windows that overlap, and each word is taken from the window in which it is farthest from
the borders.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from teddy.model.errors import ModelFileError
from teddy.model.file.bundle import TrainingData
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.raw_text import Words
from teddy.training.learning.classes import (
    ClassReading,
    check_labels,
    expectations_of_classes,
    read_classes,
)
from teddy.training.learning.teacher import Expectations
from teddy.training.learning.torch_setup import autocast
from teddy.training.learning.transformer import load_folder

Pooling = Literal["first", "mean"]
PREFIX = "hf:"
_MOST_PIECES = 512
_POSITIONS_LEFT = 2
"""RoBERTa numbers the positions of pieces from 2; others may read two pieces more."""
_OVERLAP_SHARE = 0.25
_BATCH_PIECES = 8_192
_MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.txt")


@dataclass(frozen=True, slots=True)
class Windows:
    """A tokeniser's pieces of sentences, in windows that a model can read."""

    tokeniser: Any
    most_pieces: int

    def pieces_of(self, sentences: Sequence[Words]) -> list[list[list[int]]]:
        """Return the ids of the pieces of each word of each sentence; a word may have none."""
        plain = {"is_split_into_words": True, "add_special_tokens": False}
        if not self.tokeniser.is_fast:
            known: dict[str, list[int]] = {}
            for word in dict.fromkeys(chain.from_iterable(sentences)):
                known[word] = self.tokeniser([word], **plain)["input_ids"]
            return [[known[word] for word in words] for words in sentences]
        encoded = self.tokeniser([list(words) for words in sentences], **plain)
        found: list[list[list[int]]] = []
        for row, words in enumerate(sentences):
            of_words: list[list[int]] = [[] for _ in words]
            ids = encoded["input_ids"][row]
            for piece, word in zip(ids, encoded.word_ids(row), strict=True):
                of_words[word].append(piece)
            found.append(of_words)
        return found

    def edges(self) -> tuple[list[int], list[int]]:
        """Return the special pieces that stand before and after a sentence."""
        plain = self.tokeniser(["a"], is_split_into_words=True, add_special_tokens=False)
        whole = self.tokeniser(["a"], is_split_into_words=True)["input_ids"]
        inner = plain["input_ids"]
        for start in range(len(whole) - len(inner) + 1):
            if whole[start : start + len(inner)] == inner:
                return whole[:start], whole[start + len(inner) :]
        return [], []

    def cut(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        """Cut words of so many pieces into windows of words, which overlap, of at most a window."""
        windows = []
        start = 0
        while True:
            end, n_pieces = start, 0
            while end < len(sizes) and (end == start or n_pieces + sizes[end] <= self.most_pieces):
                n_pieces += sizes[end]
                end += 1
            windows.append((start, end))
            if end == len(sizes):
                return windows
            back, n_pieces = end, 0
            # The overlap must leave room for the word that did not fit.
            most = min(self.most_pieces * _OVERLAP_SHARE, self.most_pieces - sizes[end])
            while back - 1 > start and n_pieces + sizes[back - 1] <= most:
                back -= 1
                n_pieces += sizes[back]
            start = back


def nearest_windows(windows: Sequence[tuple[int, int]], n_words: int) -> list[int]:
    """Return for each word the window in which it is farthest from the borders, the first if equal.

    Where the sentence ends there is no border.
    """

    def margin(number: int, word: int) -> float:
        start, end = windows[number]
        left = float("inf") if start == 0 else word - start
        right = float("inf") if end == n_words else end - 1 - word
        return min(left, right)

    chosen = []
    for word in range(n_words):
        having = [i for i, (start, end) in enumerate(windows) if start <= word < end]
        chosen.append(max(having, key=lambda number: (margin(number, word), -number)))
    return chosen


class HuggingFaceTeacher:
    """A model of a folder as a teacher of some labels."""

    def __init__(
        self,
        network: nn.Module,
        tokeniser: Any,
        reading: ClassReading,
        tag_set: TagSet,
        pooling: Pooling,
        *,
        most_pieces: int,
        digest: bytes,
        training_data: tuple[TrainingData, ...] = (),
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.tag_set = tag_set
        """The labels of the recipe that it knows."""
        self.training_data = training_data
        self.digest = digest
        self._reading = reading
        self._pooling = pooling
        self._windows = Windows(tokeniser, most_pieces)
        self._before, self._after = self._windows.edges()
        self._padding = tokeniser.pad_token_id or 0

    def to(self, device: torch.device) -> None:
        """Move the network to a device."""
        self.network.to(device)

    def places_in(self, tag_set: TagSet, *, forbids: bool, name: str) -> list[int]:  # noqa: ARG002
        """Return the place of each of its tags among those of a student."""
        return [tag_set.index(tag) for tag in self.tag_set.tags]

    def expectations(
        self,
        sentences: Sequence[Words],
        temperature: float,
        *,
        device: torch.device,
        mixed_precision: str,
    ) -> Expectations:
        """Return what it expects of sentences of words, none empty, in the order of its tags."""
        classes = self.classes(
            sentences, temperature, device=device, mixed_precision=mixed_precision
        ).to(device)
        lengths = torch.tensor([len(words) for words in sentences], device=device)
        return expectations_of_classes(classes, lengths, self._reading, self.tag_set)

    def classes(
        self,
        sentences: Sequence[Words],
        temperature: float = 1.0,
        *,
        device: torch.device,
        mixed_precision: str = "fp32",
    ) -> Tensor:
        """Return the distribution of each word over the classes, float64 [B, T, C], on the CPU.

        A word without pieces is outside.
        """
        pieces = self._windows.pieces_of(sentences)
        windows = [self._windows.cut([len(ids) for ids in words]) for words in pieces]
        of_all = [(row, window) for row, each in enumerate(windows) for window in each]
        texts = [
            list(chain.from_iterable(pieces[row][start:end]))[: self._windows.most_pieces]
            for row, (start, end) in of_all
        ]
        found = self._read(texts, temperature, device, mixed_precision)
        by_window = dict(zip(of_all, found, strict=True))
        outside = torch.tensor([label is None for label in self._reading.labels])
        width, n_classes = max(map(len, sentences)), len(self._reading.labels)
        classes = torch.zeros(len(sentences), width, n_classes, dtype=torch.float64, device=device)
        # Padding and words without pieces: outside.
        classes[:, :] = outside.double() / outside.sum()
        for row, words in enumerate(pieces):
            for word, number in enumerate(nearest_windows(windows[row], len(words))):
                start, _ = window = windows[row][number]
                first = sum(map(len, words[start:word]))
                of_word = by_window[row, window][first : first + len(words[word])]
                if len(of_word):
                    mean = of_word.mean(dim=0) if self._pooling == "mean" else of_word[0]
                    classes[row, word] = mean
        return classes

    def _read(
        self, texts: Sequence[list[int]], temperature: float, device: torch.device, precision: str
    ) -> list[Tensor]:
        """Return the distributions of the pieces of each text, [pieces, C] each."""
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        found: list[Tensor] = [torch.empty(0)] * len(texts)
        edges = len(self._before) + len(self._after)
        start = 0
        while start < len(order):
            end = start + 1
            while (
                end < len(order)
                and (end + 1 - start) * (len(texts[order[end]]) + edges) <= _BATCH_PIECES
            ):
                end += 1
            members = order[start:end]
            rows = [[*self._before, *texts[number], *self._after] for number in members]
            width = max(map(len, rows))
            ids = torch.tensor([row + [self._padding] * (width - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
            with torch.no_grad(), autocast(precision, device):
                logits = self.network(
                    input_ids=ids.to(device), attention_mask=mask.to(device)
                ).logits
            shares = (logits.double().cpu() / temperature).softmax(dim=2)
            for row, number in enumerate(members):
                begin = len(self._before)
                found[number] = shares[row, begin : begin + len(texts[number])]
            start = end
        return found


def find_folder(name: str, data: Path) -> Path:
    """Return the folder that `hf:DIR` names: below the data, or the working directory."""
    folder = Path(name.removeprefix(PREFIX))
    return data / folder if (data / folder).is_dir() else folder


def labels_in(folder: Path, label_map: Mapping[str, str]) -> list[str]:
    """Return the labels of a model, mapped, in the order of its classes.

    Raises ModelFileError for a folder without a config.json that names them.
    """
    try:
        names = json.loads((folder / "config.json").read_bytes())["id2label"].values()
    except (OSError, ValueError, KeyError, AttributeError):
        reason = "no folder of a token classifier: it has no config.json that names its labels"
        raise ModelFileError(folder, reason) from None
    labels = read_classes(list(names), label_map).labels
    return list(dict.fromkeys(label for label in labels if label is not None))


def load_hugging_face(
    folder: Path, labels: Sequence[str], label_map: Mapping[str, str], pooling: Pooling
) -> HuggingFaceTeacher:
    """Return the model of a folder: config.json, safetensors and the files of a tokeniser.

    Nothing is fetched and no code of the folder is run. Raises MissingExtraError without
    transformers, ModelFileError for a folder that is no such model, or that has other labels.
    """
    network, tokeniser, about = load_folder(folder, "AutoModelForTokenClassification")
    if missing := sorted(about["missing_keys"]):
        raise ModelFileError(folder, f"no trained token classifier: its files have no {missing[0]}")
    names = [network.config.id2label[number] for number in range(network.config.num_labels)]
    reading = read_classes(names, label_map)
    check_labels(reading, labels, folder / "config.json")
    known = set(reading.labels)
    return HuggingFaceTeacher(
        network,
        tokeniser,
        reading,
        TagSet(tuple(label for label in labels if label in known)),
        pooling,
        most_pieces=_most_pieces(network, tokeniser),
        digest=_digest(folder, reading, pooling),
        training_data=(_credit(folder),),
    )


def _most_pieces(network: nn.Module, tokeniser: Any) -> int:
    """Return how many pieces a window may have, the special ones not counted."""
    config: Any = network.config
    positions = getattr(config, "max_position_embeddings", None) or _MOST_PIECES
    most = int(min(tokeniser.model_max_length, positions - _POSITIONS_LEFT, _MOST_PIECES))
    return max(1, most - int(tokeniser.num_special_tokens_to_add()))


def _digest(folder: Path, reading: ClassReading, pooling: Pooling) -> bytes:
    found = hashlib.sha256(repr((reading, pooling)).encode())
    for path in sorted(chain.from_iterable(folder.glob(pattern) for pattern in _MODEL_FILES)):
        found.update(path.name.encode())
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.digest()


def _credit(folder: Path) -> TrainingData:
    """Return the credit for a model, by the head of its README.md, if it has one."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    head = text.split("---", 2)[1] if text.startswith("---") and text.count("---") > 1 else ""
    licence = re.search(r"^license:\s*['\"]?([^\s'\"]+)", head, re.MULTILINE)
    return TrainingData(
        name=folder.resolve().name,
        licence=licence[1] if licence else "not stated",
        source="a teacher: token classifier of Hugging Face's transformers",
    )
