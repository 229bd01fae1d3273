"""Noise on the input of training: dropped words and features, changed case and punctuation.

Each update draws from its own random generator, so that a resumed run sees what an uninterrupted
one sees.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from teddy.model.features.batching import Batch
from teddy.model.features.rows import UNKNOWN_WORD, WordFeatures
from teddy.training.data.align import Sentence
from teddy.training.data.name_perturbations import listed, marked, titled
from teddy.training.data.perturbations import joined, lower, mistyped, title, unpunctuated, upper
from teddy.training.recipe.sections import AugmentConfig


def drop_words(batch: Batch, probability: float, random: np.random.Generator) -> Batch:
    """Replace each word, on its own, by the unknown word with this probability."""
    if probability == 0.0:
        return batch
    unknown_word = len(batch.starts)
    dropped = torch.from_numpy(random.random(batch.words.shape) < probability)
    return replace(
        batch,
        rows=torch.cat((batch.rows, torch.tensor([UNKNOWN_WORD]))),
        starts=torch.cat((batch.starts, torch.tensor([len(batch.rows)]))),
        words=batch.words.masked_fill(dropped, unknown_word),
    )


def drop_features(
    batch: Batch, features: WordFeatures, probability: float, random: np.random.Generator
) -> Batch:
    """Drop each kind of features (pieces, shape, affixes, whole word) of each distinct word.

    Each is dropped with this probability, and a word that would lose all of its rows keeps them. A
    word that training has seen is known by its pieces; without them it must be judged by its looks,
    as an unseen word will be.
    """
    if probability == 0.0:
        return batch
    rows, starts = drop_kinds(
        batch.rows.numpy(), batch.starts.numpy(), features.group_starts, probability, random
    )
    return replace(batch, rows=torch.from_numpy(rows), starts=torch.from_numpy(starts))


def drop_kinds(
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    group_starts: Sequence[int],
    probability: float,
    random: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Drop features as `drop_features` does; the kinds begin at the rows `group_starts`.

    Shape: rows [F] and starts [U], as `WordFeatures.bag` returns them -> fewer rows, starts [U].
    """
    counts = np.diff(np.append(starts, len(rows)))
    word = np.repeat(np.arange(len(starts)), counts)
    kind = np.searchsorted(group_starts, rows, side="right")
    dropped = random.random((len(starts), len(group_starts) + 1)) < probability
    keep = ~dropped[word, kind]
    left = np.bincount(word, weights=keep, minlength=len(starts))
    keep |= left[word] == 0
    kept_counts = np.bincount(word[keep], minlength=len(starts))
    return rows[keep], np.cumsum(kept_counts) - kept_counts


def augment(
    sentences: Sequence[Sentence], config: AugmentConfig, random: np.random.Generator
) -> list[Sentence]:
    """Return the sentences of a batch as they are read this time.

    They are fewer where they are joined, else as many, in order. Where a change would lose a gold
    span, a sentence stays as it is. With all shares at 0 nothing is drawn from `random`.
    """
    if not config.is_on:
        return list(sentences)
    if random.random() < config.joined:
        sentences = join_in_twos([sentences[i] for i in random.permutation(len(sentences))])
    draws: list[list[float]] = random.random((len(sentences), 3)).tolist()
    return [
        _changed(sentence, config, each, random)
        for sentence, each in zip(sentences, draws, strict=True)
    ]


def join_in_twos(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Join each sentence to the next of its corpus; those that cannot be joined stay alone."""
    result: list[Sentence] = []
    waiting: dict[str, int] = {}  # by corpus, the place in `result` of one without a partner
    for sentence in sentences:
        place = waiting.pop(sentence.corpus, None)
        both = None if place is None else joined(result[place], sentence)
        if place is None or both is None:
            waiting[sentence.corpus] = len(result)
            result.append(sentence)
        else:
            result[place] = both
    return result


def _changed(
    sentence: Sentence, config: AugmentConfig, draws: list[float], random: np.random.Generator
) -> Sentence:
    """Change one sentence by three draws between 0 and 1, and by more for its names."""
    case, punctuation, typos = draws
    if config.changes_names:
        sentence = _names_changed(sentence, config, random)
    if punctuation < config.unpunctuated:
        sentence = (
            unpunctuated(sentence, only_last=punctuation < config.unpunctuated / 2) or sentence
        )
    if typos < config.typos:
        sentence = mistyped(sentence, random) or sentence
    for share, change in ((config.lower, lower), (config.upper, upper), (config.title, title)):
        if case < share:
            return change(sentence) or sentence
        case -= share
    return sentence


def _names_changed(
    sentence: Sentence, config: AugmentConfig, random: np.random.Generator
) -> Sentence:
    """Change how the names of a sentence stand in it, in one way at most."""
    draw = random.random()
    if draw < config.titles:
        return titled(sentence, config.person, random) or sentence
    draw -= config.titles
    if draw < config.marks:
        return marked(sentence, random) or sentence
    draw -= config.marks
    return (listed(sentence, random) or sentence) if draw < config.lists else sentence
