"""The life of a training run, one update after another.

`Trainer.run` is a generator: it yields a row after each update and each evaluation, and its caller decides what to
show, to keep or to stop. Between two rows the trainer's whole state can be taken and put back, and the run goes on as
if nothing had happened: everything random is drawn from the seed, the epoch and the step.
"""

import copy
import math
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.batching import Batch, make_batch
from model.errors import DivergedError
from model.features import UNKNOWN_WORD, WordFeatures
from model.labels import TagSet
from model.network import Network
from model.tagger import Tagger
from training.align import Sentence
from training.augment import augment
from training.augment_config import AugmentConfig
from training.card import evaluate_dev
from training.config import TrainingConfig
from training.corpora import Corpus
from training.device import FromAnywhere, autocast
from training.distill import Distillation, words_to_read
from training.dropout import drop_features, drop_words
from training.raw_text import Words
from training.record import EvaluationRow, Losses, UpdateRow
from training.sampler import plan_epoch
from training.seed import generator, seed_torch
from training.source import CorporaInMemory, Source
from training.targets import Targets, pad_targets

_RECENT_LOSSES = 50
"""The running median of so many losses is what an exploding one is compared with."""


@dataclass(slots=True)
class Position:
    """Where a run stands: so many updates made in all, and of this epoch; what the best evaluation was."""

    step: int = 0
    epoch: int = 0
    batches_done: int = 0
    best_f1: float = -1.0
    evaluations_since_best: int = 0


class Trainer:
    """Trains a network on corpora; see the head of this file."""

    def __init__(
        self,
        network: Network,
        features: WordFeatures,
        tag_set: TagSet,
        corpora: Sequence[Corpus],
        config: TrainingConfig,
        *,
        seed: int,
        device: torch.device,
        source: Source | None = None,
        started_share: float = 1.0,
        distillation: Distillation | None = None,
        augmentation: AugmentConfig | None = None,
    ) -> None:
        """Batches come from `source`, or else from the training sentences of the corpora.

        `started_share` is the share of the learning rate at which the embedding and the encoder learn.
        """
        self.config = config
        self.features = features
        self.tag_set = tag_set
        self.corpora = corpora
        self.seed = seed
        self.device = device
        self.distillation = distillation
        self.augmentation = augmentation or AugmentConfig()
        self.network = network.to(device)
        self.averaged = copy.deepcopy(network).eval().requires_grad_(False)
        self.position = Position()
        self._optimiser = make_optimiser(network, config.learning_rate, config.weight_decay, started_share)
        self._recent_losses: deque[float] = deque(maxlen=_RECENT_LOSSES)
        self._targets = {corpus.name: Targets(tag_set, corpus.annotates) for corpus in corpora}
        self.source = source or CorporaInMemory(corpora, config.batch_words, seed)

    @property
    def tagger(self) -> Tagger:
        """The tagger that is evaluated and exported: the moving average of the weights."""
        return Tagger(FromAnywhere(self.averaged, self.device), self.features, self.tag_set)

    def total_steps(self) -> int:
        """The updates of a whole run, if patience does not end it before."""
        return sum(len(self.source.epoch(number)) for number in range(self.config.epochs))

    def run(self) -> Iterator[UpdateRow | EvaluationRow]:
        """Trains to the end of the last epoch, or until patience is at an end; goes on from `position`.

        Raises DivergedError, before any weight is touched, when a loss or gradient is not finite or explodes.
        """
        position = self.position
        while position.epoch < self.config.epochs and not self._out_of_patience():
            epoch = self.source.epoch(position.epoch)
            n_updates = len(epoch)
            pauses = evaluation_points(n_updates, self.config.evaluations_per_epoch, position.epoch, self.config.epochs)
            for sentences in epoch.batches(position.batches_done):
                yield self._update(sentences, n_updates)
                if position.batches_done in pauses:
                    yield self._evaluate()
                    if self._out_of_patience():
                        return
            position.epoch += 1
            position.batches_done = 0

    def _out_of_patience(self) -> bool:
        return 0 < self.config.patience <= self.position.evaluations_since_best

    def _update(self, sentences: list[Sentence], n_updates: int) -> UpdateRow:
        """Learns from the sentences of a batch, one of the epoch's `n_updates`."""
        started = time.perf_counter()
        position = self.position
        progress = (position.epoch + position.batches_done / n_updates) / self.config.epochs
        rate = self.config.learning_rate * schedule(
            progress, self.config.warmup_share, self.config.final_learning_rate_share
        )
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["rate_share"]
        losses, norm = self._gradients(sentences, n_updates)
        self._optimiser.step()
        position.step += 1
        position.batches_done += 1
        self._average()
        return UpdateRow(
            kind="update",
            step=position.step,
            epoch=position.epoch + 1,
            **losses,
            gradient_norm=norm,
            learning_rate=rate,
            words_per_second=sum(len(sentence.words) for sentence in sentences) / (time.perf_counter() - started),
        )

    def _gradients(self, sentences: list[Sentence], n_updates: int) -> tuple[Losses, float]:
        """Computes and clips the gradients of a batch, one of the epoch's `n_updates`.

        Gives its losses for each word and the norm of the gradients before clipping.
        """
        self.network.train()
        batch, allowed, words = self._batch(sentences)
        emissions = self._emissions(self.network, batch)
        loss = self._loss(self.network, emissions, batch, allowed) / batch.lengths.sum()
        losses: Losses = {"loss": loss.item()}
        if self.distillation is not None:
            distilled = self._distil(self.distillation, emissions, batch, words, n_updates)
            losses["distillation_loss"] = distilled.item()
            loss = loss + self.distillation.config.weight * distilled
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self._refuse_poison(loss.item(), norm.item(), sentences)
        return losses, norm.item()

    def _distil(
        self, teaching: Distillation, emissions: Tensor, batch: Batch, words: Sequence[Words], n_updates: int
    ) -> Tensor:
        """The mean loss for each word against the teachers, over the words of the batch and over raw text."""
        position, crf = self.position, self.network.crf
        total, n_words = torch.zeros((), dtype=torch.float64, device=self.device), 0
        if teaching.config.on_corpora:
            total = total + teaching.loss(crf, emissions, batch.lengths, words)
            n_words += sum(map(len, words))
        # Another key than that of the batch, whose noise stays what it is without teachers.
        random = generator(self.seed, position.epoch, position.step, 1)
        for raw in teaching.batches(position.epoch, position.batches_done, n_updates):
            guises = augment(raw, self.augmentation, random)
            batch = self._noisy(guises, random)
            words = words_to_read(raw, guises)
            total = total + teaching.loss(crf, self._emissions(self.network, batch), batch.lengths, words)
            n_words += sum(map(len, words))
        return total / n_words

    def _batch(self, sentences: list[Sentence]) -> tuple[Batch, Tensor, list[Words]]:
        """The sentences as the network sees them this time, their sets of tags, their words as teachers see them."""
        random = generator(self.seed, self.position.epoch, self.position.step)
        # The dropout inside the network asks torch, on whatever device: no state of it needs to be kept.
        seed_torch(int(random.integers(2**63)))
        guises = augment(sentences, self.augmentation, random)
        batch = self._noisy(guises, random)
        allowed = pad_targets([self._targets[guise.corpus].allowed(guise) for guise in guises])
        return batch, allowed.to(self.device), words_to_read(sentences, guises)

    def _noisy(self, sentences: Sequence[Sentence], random: np.random.Generator) -> Batch:
        """Sentences with words and features dropped at random."""
        batch = make_batch([sentence.words for sentence in sentences], self.features)
        batch = drop_features(batch, self.features, self.config.feature_dropout, random)
        return drop_words(batch, UNKNOWN_WORD, self.config.word_dropout, random).to(self.device)

    def _emissions(self, network: Network, batch: Batch) -> Tensor:
        with autocast(self.config.mixed_precision, self.device):
            return network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)

    def _loss(self, network: Network, emissions: Tensor, batch: Batch, allowed: Tensor) -> Tensor:
        """The summed supervised loss of a batch, in nats."""
        return network.crf.loss(emissions, batch.lengths, allowed).sum()

    def _refuse_poison(self, loss: float, norm: float, sentences: list[Sentence]) -> None:
        usual = statistics.median(self._recent_losses) if len(self._recent_losses) == _RECENT_LOSSES else math.inf
        reason = ""
        if not math.isfinite(loss):
            reason = "the loss is not finite"
        elif not math.isfinite(norm):
            reason = "the gradient is not finite"
        elif loss > self.config.explode_factor * max(usual, 0.01):
            reason = f"the loss is over {self.config.explode_factor:g} times its running median of {usual:.4g}"
        if reason:
            first = sentences[0]
            raise DivergedError(
                f"step {self.position.step + 1}: {reason} (loss {loss:.4g}, gradient norm {norm:.4g}, batch of "
                f"{len(sentences)} sentences, the first at {first.path}:{first.line}); the weights are as they were "
                "before this step. Try a lower training.learning_rate or training.gradient_clip"
            )
        self._recent_losses.append(loss)

    def _average(self) -> None:
        """Moves the average towards the weights, faster in the first steps (Polyak averaging with a warm-up)."""
        decay = min(self.config.average_decay, (1 + self.position.step) / (10 + self.position.step))
        with torch.no_grad():
            averaged: list[Tensor] = list(self.averaged.parameters())
            current: list[Tensor] = list(self.network.parameters())
            torch._foreach_lerp_(averaged, current, 1.0 - decay)  # one pass over all the weights

    def _evaluate(self) -> EvaluationRow:
        position = self.position
        counts = evaluate_dev(self.tagger, self.corpora, worst=0).scores.micro
        best = counts.f1 > position.best_f1
        # A tie goes to the earlier step: later ones had more chances.
        position.best_f1 = max(position.best_f1, counts.f1)
        # A small corpus takes epochs until the first entity is found: that is no reason to give up.
        waiting = position.best_f1 == 0.0
        position.evaluations_since_best = 0 if best or waiting else position.evaluations_since_best + 1
        return EvaluationRow(
            kind="evaluation",
            step=position.step,
            epoch=position.epoch + 1,
            f1=counts.f1,
            precision=counts.precision,
            recall=counts.recall,
            loss=self._dev_loss(),
            best=best,
        )

    def _dev_loss(self) -> float:
        """The mean loss for each dev word, in nats."""
        total, n_words = 0.0, 0
        for corpus in self.corpora:
            targets = self._targets[corpus.name]
            for members in plan_epoch([len(s.words) for s in corpus.dev], [1.0] * len(corpus.dev), 4096, 0, 0):
                sentences = [corpus.dev[i] for i in members]
                batch = make_batch([sentence.words for sentence in sentences], self.features)
                allowed = pad_targets([targets.allowed(sentence) for sentence in sentences])
                with torch.inference_mode():
                    batch = batch.to(self.device)
                    emissions = self._emissions(self.averaged, batch)
                    total += self._loss(self.averaged, emissions, batch, allowed.to(self.device)).item()
                n_words += int(batch.lengths.sum())
        return total / max(n_words, 1)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, besides the recipe and the data."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "position": {name: getattr(self.position, name) for name in Position.__slots__},
            "recent_losses": list(self._recent_losses),
        }

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Puts back the averaged weights and what `state` gave."""
        self.averaged.load_state_dict(weights)
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.position = Position(**state["position"])
        self._recent_losses.extend(state["recent_losses"])


def schedule(progress: float, warmup_share: float, final_share: float) -> float:
    """The share of the learning rate at a point of the run: up in a line, then down in a line to `final_share`.

    `progress` is the part of the whole run that is done, 0 to 1.
    """
    if progress < warmup_share:
        return max(progress / warmup_share, 1e-3)
    return 1.0 - (1.0 - final_share) * (progress - warmup_share) / max(1.0 - warmup_share, 1e-9)


def evaluation_points(n_batches: int, per_epoch: float, epoch: int, n_epochs: int) -> set[int]:
    """After how many batches of this epoch to evaluate.

    With `per_epoch` below one, at the end of every so many epochs; at the end of the last epoch in any case.
    """
    if per_epoch >= 1:
        times = min(round(per_epoch), max(n_batches, 1))
        return {max(1, round(n_batches * part / times)) for part in range(1, times + 1)}
    every = round(1 / per_epoch)
    return {n_batches} if (epoch + 1) % every == 0 or epoch + 1 == n_epochs else set()


def make_optimiser(
    network: nn.Module, learning_rate: float, weight_decay: float, started_share: float = 1.0
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019); only matrices decay, neither the embedding nor biases nor the CRF's scores.

    An embedding's rows must not decay while their words are not seen. What did not start at random learns at
    `started_share` of the rate.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decays = parameter.dim() >= 2 and not name.startswith(("embedding", "crf"))
            started = name.startswith(("embedding", "normalisation", "encoder"))
            groups.setdefault((decays, started), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": weight_decay if decays else 0.0,
                "rate_share": started_share if started else 1.0,
            }
            for (decays, started), parameters in groups.items()
        ],
        lr=learning_rate,
        betas=(0.9, 0.99),
        fused=True,
    )
