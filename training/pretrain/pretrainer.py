"""The loop of pre-training, and its evaluation.

`Pretrainer.run` yields a row after each update and each evaluation. After any row the state can be
saved and restored, and the run goes on as if it had not been interrupted: everything random is
drawn from the seed and the step.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from teddy.model.errors import DivergedError, TrainingError
from teddy.model.features.rows import WordFeatures
from teddy.model.system.processes import Interruption
from teddy.training.job.record import HeldOutRow, UpdateRow
from teddy.training.learning.torch_setup import autocast, generator, make_optimiser, seed_torch
from teddy.training.pretrain.encoded import EncodedCorpus, TrainingText, cut_by_length
from teddy.training.pretrain.objectives import (
    BatchMaker,
    PretrainingNetwork,
    candidate_logits,
    unigram_prior,
)
from teddy.training.recipe.sections import PretrainConfig

_QUERIES_AT_ONCE = 1024
"""Scores of so many queries against 20,000 words take 80 MB."""

_UPDATE = 2
"""A key that no random generator of a plan has (see training/pretrain/encoded.py)."""


class HeldOutText:
    """The held-out sentences of a corpus, evenly chosen when there are too many.

    Words are guessed among the `evaluation_words` most frequent, each with its frequency as the
    prior, so that numbers of different runs compare. A guess where another word is right does not
    count. Masks are the same at each evaluation.
    """

    def __init__(self, corpus: EncodedCorpus, config: PretrainConfig) -> None:
        self._corpus = corpus
        held_out, lengths = corpus.held_out(config.shortest_sentence)
        n_chosen = min(len(held_out), config.evaluation_sentences)
        chosen = np.arange(n_chosen) * len(held_out) // max(n_chosen, 1)
        batches = cut_by_length(chosen, lengths, config.batch_words)
        self._batches = [corpus.sentences(held_out[members]) for members in batches]
        self._candidates = np.arange(min(len(corpus.counts), config.evaluation_words))
        self._log_prior = unigram_prior(corpus.counts[self._candidates], corpus.n_learnt_words)

    @property
    def n_sentences(self) -> int:
        """The number of sentences."""
        return sum(map(len, self._batches))

    @torch.inference_mode()
    def measure(
        self, network: PretrainingNetwork, maker: BatchMaker, device: torch.device
    ) -> tuple[float | None, float | None]:
        """Return perplexity and accuracy, computed in the number format of the block around."""
        was_training = network.training
        network.eval()
        rows, starts = (torch.from_numpy(each) for each in self._corpus.bag(self._candidates))
        vectors = network.word_vectors(rows.to(device), starts.to(device))
        log_prior = self._log_prior.to(device)
        n_guesses, n_right, nats = 0, 0, 0.0
        for number, sentences in enumerate(self._batches):
            batch, types = maker.make(sentences, generator(0, number))
            all_queries, all_targets, _ = network.guesses(batch.to(device))
            targets = torch.from_numpy(types).to(device)[all_targets]
            is_asked = targets < len(self._candidates)
            for queries, right in zip(
                torch.split(all_queries[is_asked], _QUERIES_AT_ONCE),
                torch.split(targets[is_asked], _QUERIES_AT_ONCE),
                strict=True,
            ):
                logits = candidate_logits(queries, vectors, log_prior)
                nats += functional.cross_entropy(logits, right, reduction="sum").item()
                n_right += int((logits.argmax(dim=1) == right).sum())
                n_guesses += len(right)
        network.train(was_training)
        if not n_guesses:
            return None, None
        return math.exp(min(nats / n_guesses, 700.0)), n_right / n_guesses


@dataclass(slots=True)
class Position:
    """Where a run stands: updates and words in all, and the step of the last evaluation."""

    step: int = 0
    words: int = 0
    epoch: int = 0
    batches_done: int = 0
    evaluated: int = 0


class Pretrainer:
    """Trains a network on an encoded corpus."""

    def __init__(
        self,
        network: PretrainingNetwork,
        features: WordFeatures,
        corpus: EncodedCorpus,
        config: PretrainConfig,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        """Raise TrainingError for a corpus with nothing to learn from, or nothing held out."""
        self.network = network.to(device)
        self.corpus = corpus
        self.config = config
        self.seed = seed
        self.device = device
        self.position = Position()
        self._maker = BatchMaker(corpus, network.objective, features.group_starts)
        self._held_out = HeldOutText(corpus, config)
        self._optimiser = make_optimiser(network, config.learning_rate, config.weight_decay)
        # The embedding's gradient is not clipped: few of its thousands of rows are in a batch.
        self._clipped = [
            parameter for name, parameter in network.named_parameters() if name != "embedding"
        ]
        self.text = TrainingText(
            corpus,
            shortest=config.shortest_sentence,
            batch_words=config.batch_words,
            window_words=config.shuffle_window_words,
            seed=seed,
        )
        if not self.text.epoch_words:
            raise TrainingError(
                f"{corpus.folder}: no sentence of {config.shortest_sentence} words to learn from"
            )
        if not self._held_out.n_sentences:
            raise TrainingError(
                f"{corpus.folder}: no sentence of {config.shortest_sentence} words is held out: "
                "try a smaller pretrain.held_out_every"
            )

    @property
    def is_finished(self) -> bool:
        """Whether as many words as wanted are read."""
        return self.position.words >= self.config.words

    def run(self, interruption: Interruption | None = None) -> Iterator[UpdateRow | HeldOutRow]:
        """Train from `position` until the words are read.

        Raises DivergedError, before any weight is touched, when a loss or gradient is not finite,
        and JobInterrupted when `interruption` is wanted during an evaluation, which is then as if
        it had not begun.
        """
        while True:
            step = self.position.step
            is_time = step % self.config.evaluation_steps == 0 or self.is_finished
            if is_time and step != self.position.evaluated:
                yield self._evaluate(interruption or Interruption())
            if self.is_finished:
                return
            yield self._update()

    def _update(self) -> UpdateRow:
        started = time.perf_counter()
        position = self.position
        sentences = self.text.batch(position.epoch, position.batches_done)
        row_epoch = position.epoch + 1
        rate = self._learning_rate()
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        loss, norm = self._gradients(sentences)
        self._optimiser.step()
        n_words = sentences.size
        position.step += 1
        position.words += n_words
        position.batches_done += 1
        if position.batches_done == self.text.n_batches(position.epoch):
            position.epoch += 1
            position.batches_done = 0
        return UpdateRow(
            kind="update",
            step=position.step,
            epoch=row_epoch,
            loss=loss,
            gradient_norm=norm,
            learning_rate=rate,
            n_words=n_words,
            words_per_second=n_words / (time.perf_counter() - started),
        )

    def _learning_rate(self) -> float:
        """Return the rate: up in a line over the first steps, down in a line over the run."""
        config = self.config
        warmth = min(1.0, (self.position.step + 1) / config.warmup_steps)
        progress = self.position.words / config.words
        share = 1.0 - (1.0 - config.final_learning_rate_share) * progress
        return config.learning_rate * warmth * share

    def _gradients(self, sentences: NDArray[np.int64]) -> tuple[float, float]:
        """Compute and clip the gradients of a batch; return its loss and their norm before."""
        random = generator(self.seed, _UPDATE, self.position.step)
        # Dropout draws from torch's generators, whose state is not saved.
        seed_torch(int(random.integers(2**63)))
        batch, _ = self._maker.make(sentences, random, self.config.feature_dropout)
        self.network.train()
        with autocast(self.config.mixed_precision, self.device):
            loss = self.network.loss(batch.to(self.device))
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._clipped, self.config.gradient_clip).item()
        if not (math.isfinite(loss.item()) and math.isfinite(norm)):
            raise DivergedError(
                f"step {self.position.step + 1}: the loss ({loss.item():.4g}) or its gradient "
                f"({norm:.4g}) is not finite; the weights are as they were before this step. Try a "
                "lower pretrain.learning_rate"
            )
        return loss.item(), norm

    def _evaluate(self, interruption: Interruption) -> HeldOutRow:
        position = self.position
        with interruption.at_once(), autocast(self.config.mixed_precision, self.device):
            found = self._held_out.measure(self.network, self._maker, self.device)
        perplexity, accuracy = found
        position.evaluated = position.step
        return HeldOutRow(
            kind="held_out",
            step=position.step,
            epoch=position.epoch + 1,
            words=position.words,
            perplexity=perplexity,
            accuracy=accuracy,
            detection_accuracy=None,  # of an objective of older versions
        )

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on besides the recipe and the corpus."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "position": asdict(self.position),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.position = Position(**state["position"])
