"""The life of a training run, one update after another.

`Trainer.run` is a generator: it yields a row after each update and each evaluation, and its caller
decides what to show, to keep or to stop. After any row the trainer's whole state can be taken and
put back, and the run goes on as if nothing had happened: everything random is drawn from the seed,
the epoch and the step.
"""

import copy
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from teddy.model.errors import DivergedError
from teddy.model.features.batching import Batch
from teddy.model.features.rows import WordFeatures
from teddy.model.network.tagger_network import Network
from teddy.model.system.processes import Interruption
from teddy.model.tagger import Tagger
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.data.source import CorporaInMemory, Source
from teddy.training.evaluation.card import score_dev
from teddy.training.job.record import EvaluationRow, Losses, UpdateRow
from teddy.training.learning.distill import Distillation
from teddy.training.learning.distributed.gradients import EmbeddingShard, Gradients
from teddy.training.learning.distributed.lessons import Divider, Part, Share
from teddy.training.learning.distributed.process_group import (
    SINGLE_PROCESS,
    ProcessGroup,
    require_same_beginning,
    require_same_weights,
)
from teddy.training.learning.targets import Targets
from teddy.training.learning.torch_setup import (
    FromAnywhere,
    autocast,
    make_optimiser,
    schedule,
    seed_torch,
)
from teddy.training.recipe.recipe import TrainingConfig
from teddy.training.recipe.sections import AugmentConfig

_RECENT_LOSSES = 50
"""The running median of so many losses is what an exploding one is compared with."""


@dataclass(slots=True)
class Position:
    """Where a run stands: updates made in all, and of this epoch; the step last evaluated, and what the best was."""

    step: int = 0
    epoch: int = 0
    batches_done: int = 0
    evaluated: int = 0
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
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        """Batches come from `source`, or else from the training sentences of the corpora.

        `started_share` is the share of the learning rate at which the embedding and the encoder
        learn. With a `group` of several processes all of them make such a trainer, of the same
        arguments, and do the same with it.
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
        self.group = group
        self._shard = EmbeddingShard(self.network.embedding, group)
        self._gradients = Gradients(self.network, self._shard, group)
        self._optimiser = make_optimiser(
            network,
            config.learning_rate,
            config.weight_decay,
            started_share,
            embedding=self._shard.parameter,
        )
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

    def run(self, interruption: Interruption | None = None) -> Iterator[UpdateRow | EvaluationRow]:
        """Trains to the end of the last epoch, or until patience is at an end; goes on from `position`.

        Raises DivergedError, before any weight is touched, when a loss or gradient is not finite or
        explodes, and JobInterrupted when `interruption` is wanted during an evaluation, which is
        then as if it had not begun.
        """
        position, config = self.position, self.config
        require_same_beginning(self.group, self.network, self.features, position.step)
        while position.epoch < config.epochs:
            epoch = self.source.epoch(position.epoch)
            pauses = evaluation_points(
                len(epoch), config.evaluations_per_epoch, position.epoch, config.epochs
            )
            batches = epoch.batches(position.batches_done)
            while True:
                if position.batches_done in pauses and position.evaluated != position.step:
                    yield self._evaluate(interruption or Interruption())
                if self._out_of_patience():
                    return
                if (sentences := next(batches, None)) is None:
                    break
                yield self._update(sentences, len(epoch))
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
        losses, norm = self._learn(sentences, n_updates)
        self._optimiser.step()
        position.step += 1
        position.batches_done += 1
        self._average()
        n_words = sum(len(sentence.words) for sentence in sentences)
        return UpdateRow(
            kind="update",
            step=position.step,
            epoch=position.epoch + 1,
            **losses,
            gradient_norm=norm,
            learning_rate=rate,
            n_words=n_words,
            words_per_second=n_words / (time.perf_counter() - started),
        )

    def _learn(self, sentences: list[Sentence], n_updates: int) -> tuple[Losses, float]:
        """Computes and clips the gradients of a batch, one of the epoch's `n_updates`.

        Gives its losses for each word and the norm of the gradients before clipping.
        """
        share = self._share(sentences, n_updates)
        self.network.train()
        self._gradients.begin(share.rows)
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        for part in share.parts:
            sums += self._learn_part(part, share)
        (loss, distilled), norm = self._gradients.combine(sums)
        losses: Losses = {"loss": loss}
        if self.distillation is not None:
            losses["distillation_loss"] = distilled
            loss += self.distillation.config.weight * distilled
        self._check_finite(loss, norm, sentences)
        self._gradients.clip(norm, self.config.gradient_clip)
        return losses, norm

    def _share(self, sentences: list[Sentence], n_updates: int) -> Share:
        """What this process reads of an update: of the sentences, and of the teachers' raw text."""
        position, teaching = self.position, self.distillation
        divider = Divider(
            features=self.features,
            targets=self._targets,
            config=self.config,
            augmentation=self.augmentation,
            taught=teaching is not None and teaching.config.on_corpora,
            seed=self.seed,
            group=self.group,
        )
        raw = teaching.batches(position.epoch, position.batches_done, n_updates) if teaching else []
        return divider.share(sentences, raw, position.epoch, position.step)

    def _learn_part(self, part: Part, share: Share) -> Tensor:
        """Adds the gradients of a part; gives what it adds to the loss and to the distillation loss, float64 [2]."""
        seed_torch(part.seed)
        loss, distilled = torch.zeros(2, dtype=torch.float64, device=self.device)
        for lesson in (each.to(self.device) for each in part.lessons):
            with autocast(self.config.mixed_precision, self.device):
                emissions = self._gradients.emissions(lesson.batch)
            if lesson.allowed is not None:
                loss = (
                    loss
                    + self._loss(self.network, emissions, lesson.batch, lesson.allowed)
                    / share.n_words
                )
            if lesson.words is not None and self.distillation is not None:
                annotated = lesson.allowed is not None
                taught = self.distillation.loss(
                    self.network.crf,
                    emissions,
                    lesson.batch.lengths,
                    lesson.words,
                    annotated=annotated,
                )
                distilled = distilled + taught / share.n_taught_words
        weight = 0.0 if self.distillation is None else self.distillation.config.weight
        (loss + weight * distilled).backward()
        return torch.stack((loss, distilled)).detach()

    def _emissions(self, network: Network, batch: Batch) -> Tensor:
        with autocast(self.config.mixed_precision, self.device):
            return network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)

    def _loss(self, network: Network, emissions: Tensor, batch: Batch, allowed: Tensor) -> Tensor:
        """The summed supervised loss of a batch, in nats."""
        return network.crf.loss(emissions, batch.lengths, allowed).sum()

    def _check_finite(self, loss: float, norm: float, sentences: list[Sentence]) -> None:
        usual = (
            statistics.median(self._recent_losses)
            if len(self._recent_losses) == _RECENT_LOSSES
            else math.inf
        )
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
            averaged = self._own_weights(self.averaged)
            # one pass over all of them
            torch._foreach_lerp_(averaged, self._own_weights(self.network), 1.0 - decay)

    def _own_weights(self, network: Network) -> list[Tensor]:
        """The weights that this process learns: all but the rows of the embedding that others do."""
        return [
            self._shard.own(each) if each is network.embedding else each
            for each in network.parameters()
        ]

    def _evaluate(self, interruption: Interruption) -> EvaluationRow:
        position = self.position
        self._complete(self.averaged)
        # Other processes would wait for one that leaves an evaluation: they all see it to its end.
        with interruption.at_once() if self.group.size == 1 else nullcontext():
            found = score_dev(
                self.averaged,
                self.tagger,
                self.corpora,
                self._targets,
                self._emissions,
                self.device,
                self.group,
            )
        position.evaluated = position.step
        counts = found.counts
        best = counts.f1 > position.best_f1
        # A tie goes to the earlier step: later ones had more chances.
        position.best_f1 = max(position.best_f1, counts.f1)
        # A small corpus takes epochs until the first entity is found: that is no reason to give up.
        waiting = position.best_f1 == 0.0
        position.evaluations_since_best = (
            0 if best or waiting else position.evaluations_since_best + 1
        )
        return EvaluationRow(
            kind="evaluation",
            step=position.step,
            epoch=position.epoch + 1,
            f1=counts.f1,
            precision=counts.precision,
            recall=counts.recall,
            loss=found.loss,
            best=best,
        )

    def _complete(self, network: Network) -> None:
        """Fetches the rows of the embedding that other processes have learnt; all weights are then the same."""
        with torch.no_grad():
            self._shard.complete(network.embedding)
        require_same_weights(self.group, network, self.position.step)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, besides the recipe and the data.

        All processes ask for it at once; it is the same in each of them, however many they are.
        """
        self._complete(self.network)
        self._complete(self.averaged)
        return {
            "network": self.network.state_dict(),
            "optimiser": self._of_embedding(self._optimiser.state_dict(), self._shard.whole),
            "position": {name: getattr(self.position, name) for name in Position.__slots__},
            "recent_losses": list(self._recent_losses),
        }

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Puts back the averaged weights and what `state` gave."""
        self.averaged.load_state_dict(weights)
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(
            self._of_embedding(state["optimiser"], lambda table: self._shard.own(table).clone())
        )
        self.position = Position(**state["position"])
        self._recent_losses.extend(state["recent_losses"])

    def _of_embedding(
        self, state: dict[str, Any], change: Callable[[Tensor], Tensor]
    ) -> dict[str, Any]:
        """An optimiser's state with what it holds of the embedding's rows changed."""
        parameters = [each for group in self._optimiser.param_groups for each in group["params"]]
        place = next(i for i, each in enumerate(parameters) if each is self._shard.parameter)
        held = state["state"].get(place, {})
        changed = {name: change(value) if value.dim() else value for name, value in held.items()}
        return {**state, "state": {**state["state"], place: changed}} if held else state


def evaluation_points(n_batches: int, per_epoch: float, epoch: int, n_epochs: int) -> set[int]:
    """After how many batches of this epoch to evaluate.

    With `per_epoch` below one, at the end of every so many epochs; at the end of the last epoch in
    any case.
    """
    if per_epoch >= 1:
        times = min(round(per_epoch), max(n_batches, 1))
        return {max(1, round(n_batches * part / times)) for part in range(1, times + 1)}
    every = round(1 / per_epoch)
    return {n_batches} if (epoch + 1) % every == 0 or epoch + 1 == n_epochs else set()
