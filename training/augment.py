"""Training sentences in other guises, so that a tagger does not rely on capitals and full stops that may be missing.

Only sentences that are drawn are touched, and each update draws from its own random generator, so that a run that was
stopped and resumed sees what an unstopped one sees.
"""

from collections.abc import Sequence

import numpy as np

from teddy.training.augment_config import AugmentConfig
from teddy.training.corpus.align import Sentence
from teddy.training.perturbations import joined, lower, mistyped, title, unpunctuated, upper


def augment(sentences: Sequence[Sentence], config: AugmentConfig, random: np.random.Generator) -> list[Sentence]:
    """The sentences of a batch as they are read this time.

    Fewer where they are joined, and else as many, in order. Where a change would lose a gold span, a sentence stays as
    it is. With all shares at 0 nothing is drawn from `random`.
    """
    if not config.is_on:
        return list(sentences)
    if random.random() < config.joined:
        sentences = join_in_twos([sentences[i] for i in random.permutation(len(sentences))])
    draws: list[list[float]] = random.random((len(sentences), 3)).tolist()
    return [_changed(sentence, config, each, random) for sentence, each in zip(sentences, draws, strict=True)]


def join_in_twos(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Each sentence joined to the next of its corpus that has no partner; those that cannot be joined stay alone."""
    result: list[Sentence] = []
    waiting: dict[str, int] = {}  # by corpus, the place in `result` of the sentence without a partner
    for sentence in sentences:
        place = waiting.pop(sentence.corpus, None)
        both = None if place is None else joined(result[place], sentence)
        if place is None or both is None:
            waiting[sentence.corpus] = len(result)
            result.append(sentence)
        else:
            result[place] = both
    return result


def _changed(sentence: Sentence, config: AugmentConfig, draws: list[float], random: np.random.Generator) -> Sentence:
    """One sentence, changed as three draws between 0 and 1 want it."""
    case, punctuation, typos = draws
    if punctuation < config.unpunctuated:
        sentence = unpunctuated(sentence, only_last=punctuation < config.unpunctuated / 2) or sentence
    if typos < config.typos:
        sentence = mistyped(sentence, random) or sentence
    for share, change in ((config.lower, lower), (config.upper, upper), (config.title, title)):
        if case < share:
            return change(sentence) or sentence
        case -= share
    return sentence
