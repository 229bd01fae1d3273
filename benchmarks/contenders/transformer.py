"""A Hugging Face token classifier of DistilBERT's shape: random weights, a vocabulary made here.

    python -m benchmarks.contenders.transformer FOLDER TEXTS LABEL...     # makes the model

Its positions end at 512 pieces: of a longer text it reads the beginning, and only the words there
are counted."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from tokenizers import BertWordPieceTokenizer

from benchmarks.contenders.contender import Entrant
from benchmarks.texts import count_words

MOST_PIECES = 512
BATCH_TEXTS = 32
VOCABULARY = 30_522
VOCABULARY_TEXTS = 20_000
"""What the vocabulary is learnt from, at most."""


class Transformer:
    """Texts sorted by length, in padded batches; entities are runs of pieces of one label."""

    def __init__(self, entrant: Entrant) -> None:
        torch.set_num_threads(entrant.cores)
        transformers.utils.logging.disable_progress_bar()
        self._tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(entrant.path)
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[entrant.precision]
        self._model = transformers.DistilBertForTokenClassification.from_pretrained(
            entrant.path, dtype=dtype
        )
        self._model.eval()
        self._precision = entrant.precision

    @property
    def details(self) -> str:
        return (
            f"transformers {transformers.__version__}, {self._precision}, batches of {BATCH_TEXTS}"
        )

    def tag(self, texts: Sequence[str]) -> int:
        order = sorted(texts, key=len)
        return sum(
            self._tag_batch(order[i : i + BATCH_TEXTS]) for i in range(0, len(order), BATCH_TEXTS)
        )

    def _tag_batch(self, texts: Sequence[str]) -> int:
        encoded = self._tokenizer(
            texts,
            truncation=True,
            max_length=MOST_PIECES,
            padding=True,
            return_tensors="pt",
            return_offsets_mapping=True,
        )
        with torch.inference_mode():
            logits = self._model(
                input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
            ).logits
        found = 0
        for row, offsets in zip(
            logits.argmax(-1).tolist(), encoded["offset_mapping"].tolist(), strict=True
        ):
            previous = 0
            for label, (start, end) in zip(row, offsets, strict=True):
                found += start < end and label != 0 and label != previous
                previous = label
        return found

    def words_read(self, texts: Sequence[str]) -> int:
        encoded = self._tokenizer(
            list(texts), truncation=True, max_length=MOST_PIECES, return_offsets_mapping=True
        )
        ends = (max(end for _, end in offsets) for offsets in encoded["offset_mapping"])
        return sum(count_words(text[:end]) for text, end in zip(texts, ends, strict=True))


def make(folder: Path, texts: Sequence[str], labels: Sequence[str]) -> None:
    """Writes a model with tags O, B and I of these labels, and its tokenizer."""
    transformers.utils.logging.disable_progress_bar()
    words = BertWordPieceTokenizer(lowercase=False)
    words.train_from_iterator(texts, vocab_size=VOCABULARY, show_progress=False)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer,
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
        model_max_length=MOST_PIECES,
    )
    tokenizer.save_pretrained(folder)
    # The vocabulary has the published size whatever was learnt: the rows that are never read cost
    # nothing.
    configuration = transformers.DistilBertConfig(num_labels=1 + 2 * len(labels))
    torch.manual_seed(1)
    transformers.DistilBertForTokenClassification(configuration).save_pretrained(folder)


if __name__ == "__main__":
    lines = Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()
    make(Path(sys.argv[1]), [json.loads(line) for line in lines[:VOCABULARY_TEXTS]], sys.argv[3:])
