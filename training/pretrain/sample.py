"""Text from a language model: each word is drawn by its probability after those before it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from teddy.model.errors import TrainingError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.text.words import Tokeniser
from teddy.training.pretrain.objectives import (
    NextWords,
    PretrainingNetwork,
    candidate_logits,
    read_one_way,
    unigram_prior,
)
from teddy.training.pretrain.run import load_pretrain_checkpoint
from teddy.training.recipe.recipe import Recipe

_SENTENCE_ENDS = frozenset(".!?")
_NO_SPACE_BEFORE = re.compile(r" (?=[.,;:!?)\]}%]|n't\b|'(?:s|re|ve|ll|d|m)\b)")
_NO_SPACE_AFTER = re.compile(r"(?<=[(\[{$£€]) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """The two directions of a network of the objective `causal`, and the words to choose among."""

    network: PretrainingNetwork
    features: WordFeatures
    objective: NextWords
    words: tuple[str, ...]
    log_prior: Tensor
    """Float32 [V] for the V `words`: the logarithm of each one's frequency."""
    tokeniser: Tokeniser
    """It splits a prompt."""

    def vectors(self, words: Sequence[str]) -> Tensor:
        """Return the vectors of any words, in order. Shape: float32 [len(words), E]."""
        rows, starts = self.features.bag(words)
        return self.network.word_vectors(torch.from_numpy(rows), torch.from_numpy(starts))

    @torch.inference_mode()
    def sample(
        self,
        prompt: Sequence[str],
        n_words: int,
        *,
        temperature: float,
        seed: int,
        backwards: bool = False,
    ) -> list[str]:
        """Return the prompt, at least one word, with up to `n_words` more after or before it.

        They come before it where `backwards` is true. The model has learnt from single sentences;
        forwards, the text ends with one. At a low temperature only the most probable words are
        drawn, at 1 each is drawn with its probability.
        """
        random = torch.Generator().manual_seed(seed)
        candidates = self.vectors(self.words)
        read = [*reversed(prompt)] if backwards else [*prompt]
        vectors = self.vectors(read)
        guess = self.objective.previous if backwards else self.objective.next
        for _ in range(n_words):
            # Reading the sentence again for each word costs less than the candidates do.
            states = read_one_way(self.network.encoder, vectors.unsqueeze(0), backwards=backwards)
            logits = candidate_logits(guess(states[0, -1:]), candidates, self.log_prior)[0]
            chances = functional.softmax(logits / temperature, dim=0)
            drawn = int(torch.multinomial(chances, 1, generator=random))
            read.append(self.words[drawn])
            vectors = torch.cat((vectors, candidates[drawn : drawn + 1]))
            if not backwards and self.words[drawn] in _SENTENCE_ENDS:
                break
        return [*reversed(read)] if backwards else read

    def first_word(self, seed: int) -> str:
        """Return a first word where there is no prompt: one with a letter, by its frequency."""
        is_word = np.array([word[0].isalpha() for word in self.words])
        if not is_word.any():
            return self.words[0]
        chances = np.where(is_word, self.log_prior.double().exp().numpy(), 0.0)
        random = np.random.default_rng(seed)
        return self.words[int(random.choice(len(self.words), p=chances / chances.sum()))]


def load_language_model(path: Path) -> LanguageModel:
    """Read the checkpoint of a run, or of the run in a directory.

    Raises ModelFileError for anything else, TrainingError for a run with another objective than
    `causal`.
    """
    if path.suffix == ".encoder":
        raise TrainingError(
            f"{path}: an encoder file guesses no words any more; name the directory of its run"
        )
    checkpoint = load_pretrain_checkpoint(path / "last.checkpoint" if path.is_dir() else path)
    recipe = Recipe.of_run(checkpoint.recipe)
    if recipe.pretrain is None or recipe.pretrain.objective != "causal":
        asked = recipe.pretrain.objective if recipe.pretrain else "none"
        raise TrainingError(
            f"{path}: the objective is {asked!r}: only a 'causal' run can write text"
        )
    features = WordFeatures(
        Pieces(checkpoint.pieces), recipe.features, checkpoint.words, checkpoint.lexicon
    )
    network = PretrainingNetwork(recipe.network, features.n_rows, recipe.pretrain)
    network.load_state_dict(checkpoint.state["network"])
    objective = network.objective
    if not isinstance(objective, NextWords):
        raise TypeError(f"{type(objective).__name__} is not the objective of the recipe")
    return LanguageModel(
        network=network.eval(),
        features=features,
        objective=objective,
        words=checkpoint.frequent,
        log_prior=unigram_prior(checkpoint.counts, checkpoint.total),
        tokeniser=recipe.tokeniser,
    )


def as_text(words: Sequence[str]) -> str:
    """Join words, with spaces where an English text has them."""
    return _NO_SPACE_AFTER.sub("", _NO_SPACE_BEFORE.sub("", " ".join(words)))
