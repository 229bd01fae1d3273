"""Trains the sentencepiece model of a tagger on the words of its training data."""

import io
from collections import Counter
from collections.abc import Iterable

import sentencepiece

from training.config import PiecesConfig


def train_pieces(words: Iterable[str], config: PiecesConfig) -> bytes:
    """A serialised unigram model with byte fallback; the same words in any order give the same model.

    Raises ValueError when there are no words. A corpus with few distinct words gets fewer pieces than asked for.
    """
    counts = Counter(words)
    if not counts:
        raise ValueError("no words to train pieces on")
    # A table of words and counts, not running text: sentencepiece would count the same, and reads this in a second.
    table = (f"{word}\t{count}" for word, count in sorted(counts.items()))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=table,
        input_format="tsv",
        model_writer=model,
        vocab_size=config.vocabulary,
        hard_vocab_limit=False,
        character_coverage=config.character_coverage,
        model_type="unigram",
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()
