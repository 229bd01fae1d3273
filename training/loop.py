"""The training loop.

`Trainer.run` yields a row after each update and each evaluation; its caller shows and keeps them.
After any row the trainer's state can be saved and restored, and the run goes on as if it had not
been interrupted: everything random is drawn from the seed, the epoch and the step.
"""

import copy
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
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
from teddy.training.evaluation.measurements import score_dev
from teddy.training.job.record import EvaluationRow, Losses, UpdateRow
from teddy.training.learning.batches import MicroBatch, RankBatch, Sharder, Targets
from teddy.training.learning.distill import Distillation
from teddy.training.learning.distributed.data_parallel import DataParallel
from teddy.training.learning.distributed.process_group import (
    SINGLE_PROCESS,
    ProcessGroup,
    require_same_beginning,
    require_same_weights,
)
from teddy.training.learning.torch_setup import (
    FromAnywhere,
    autocast,
    make_optimiser,
    schedule,
    seed_torch,
)
from teddy.training.recipe.recipe import TrainingConfig
from teddy.training.recipe.sections import AugmentConfig

_RECENT_LOSSES = 50  # the losses whose median a loss is compared with


@dataclass(slots=True)
class Position:
    """Where a run stands; `evaluated` is the step of the last evaluation."""

    step: int = 0
    epoch: int = 0
    batches_done: int = 0
    evaluated: int = 0
    best_f1: float = -1.0
    evaluations_since_best: int = 0


class Trainer:
    """Trains a network on corpora."""

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
        """Take batches from `source`, by default the training sentences of the corpora.

        Embedding and encoder learn at `started_share` of the learning rate. All processes of a
        `group` make a trainer of the same arguments, and call its methods alike.
        """
        self.config = config
        self.features = features
        self.tag_set = tag_set
        self.corpora = corpora
        self.seed = seed
        self.device = device
        self.distillation = distillation
        self.network = network.to(device)
        self.averaged = copy.deepcopy(network).eval().requires_grad_(False)
        self.position = Position()
        self.group = group
        self.parallel = DataParallel(self.network, group)
        self._optimiser = make_optimiser(
            network,
            config.learning_rate,
            config.weight_decay,
            started_share,
            embedding=self.parallel.embedding,
        )
        self._recent_losses: deque[float] = deque(maxlen=_RECENT_LOSSES)
        self._targets = {corpus.name: Targets(tag_set, corpus.annotates) for corpus in corpora}
        self._sharder = Sharder(
            features=features,
            targets=self._targets,
            config=config,
            augmentation=augmentation or AugmentConfig(),
            taught=distillation is not None and distillation.config.on_corpora,
            changed=distillation is None or distillation.config.changed,
            seed=seed,
            group=group,
        )
        self.source = source or CorporaInMemory(corpora, config.batch_words, seed)

    @property
    def tagger(self) -> Tagger:
        """The tagger that is evaluated: that of the averaged weights."""
        return Tagger(FromAnywhere(self.averaged, self.device), self.features, self.tag_set)

    @property
    def total_steps(self) -> int:
        """The most updates of a run, which patience may end before."""
        return sum(len(self.source.epoch(number)) for number in range(self.config.epochs))

    def run(self, interruption: Interruption | None = None) -> Iterator[UpdateRow | EvaluationRow]:
        """Train from `position` to the end of the last epoch, or until patience runs out.

        Raises DivergedError, before any weight is touched, when a loss or gradient explodes or is
        not finite, and JobInterrupted when `interruption` is wanted in an evaluation, then undone.
        """
        position, config = self.position, self.config
        require_same_beginning(self.group, self.network, self.features, position.step)
        while position.epoch < config.epochs:
            epoch = self.source.epoch(position.epoch)
            pauses = evaluation_points(
                len(epoch), config.evaluations_per_epoch, position.epoch, config.epochs
            )
            batches = epoch.batches(position.batches_done)
            if self.distillation is not None:
                with self._losing_work(interruption):
                    self.distillation.prepare(position.epoch)
            while True:
                if position.batches_done in pauses and position.evaluated != position.step:
                    yield self._evaluate(interruption)
                if 0 < config.patience <= position.evaluations_since_best:
                    return
                if (sentences := next(batches, None)) is None:
                    break
                yield self._update(sentences, len(epoch))
            position.epoch += 1
            position.batches_done = 0

    def _losing_work(self, interruption: Interruption | None) -> AbstractContextManager[None]:
        # Others would wait for a process that leaves: several processes work to the end.
        return interruption.at_once() if interruption and self.group.size == 1 else nullcontext()

    def _update(self, sentences: list[Sentence], n_updates: int) -> UpdateRow:
        """Take one step, one of the epoch's `n_updates`: batch, loss, backward, clip, step."""
        started = time.perf_counter()
        position, distillation = self.position, self.distillation
        rate = self._set_learning_rate(n_updates)
        raw, weight = [], 0.0
        if distillation is not None:
            raw = distillation.batches(position.epoch, position.batches_done, n_updates)
            weight = distillation.config.weight
        batch = self._sharder.make_batch(sentences, raw, position.epoch, position.step)
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.network.train()
        self.parallel.zero_grad(batch.rows)
        for micro_batch in batch.micro_batches:
            loss, distilled = self._losses(micro_batch, batch)
            (loss + weight * distilled).backward()  # type: ignore[no-untyped-call]
            sums += torch.stack((loss, distilled)).detach()
        (mean_loss, mean_distilled), norm = self.parallel.reduce(sums)
        self._check_finite(mean_loss + weight * mean_distilled, norm, sentences)
        self.parallel.clip(norm, self.config.gradient_clip)
        self._optimiser.step()
        position.step += 1
        position.batches_done += 1
        self._average()
        losses: Losses = {"loss": mean_loss}
        if distillation is not None:
            losses["distillation_loss"] = mean_distilled
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

    def _set_learning_rate(self, n_updates: int) -> float:
        config, position = self.config, self.position
        progress = (position.epoch + position.batches_done / n_updates) / config.epochs
        passed = min(1.0, progress / config.schedule_share)
        share = schedule(passed, config.warmup_share, config.final_learning_rate_share)
        rate = config.learning_rate * share
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["rate_share"]
        return rate

    def _losses(self, micro_batch: MicroBatch, batch: RankBatch) -> tuple[Tensor, Tensor]:
        """Return what a micro-batch adds to loss and distillation loss, float64 []."""
        seed_torch(micro_batch.seed)
        crf, teaching = self.network.crf, self.distillation
        loss, distilled = torch.zeros(2, dtype=torch.float64, device=self.device)
        for each in micro_batch.batches:
            inputs = each.inputs.to(self.device)
            with autocast(self.config.mixed_precision, self.device):
                emissions = self.parallel.emissions(inputs)
            if each.allowed is not None:
                allowed = each.allowed.to(self.device)
                nats = crf.loss(emissions, inputs.lengths, allowed).sum()
                loss = loss + nats / batch.n_words
            if each.teacher_words is not None and teaching is not None:
                words, marked = each.teacher_words, each.allowed is not None
                nats = teaching.loss(crf, emissions, inputs.lengths, words, annotated=marked)
                distilled = distilled + nats / batch.n_taught_words
        return loss, distilled

    def _emissions(self, network: Network, batch: Batch) -> Tensor:
        with autocast(self.config.mixed_precision, self.device):
            return network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)

    def _check_finite(self, loss: float, norm: float, sentences: list[Sentence]) -> None:
        recent, factor = self._recent_losses, self.config.explode_factor
        usual = statistics.median(recent) if len(recent) == _RECENT_LOSSES else math.inf
        named = (("loss", loss), ("gradient", norm))
        reason = next((f"the {n} is not finite" for n, x in named if not math.isfinite(x)), "")
        if not reason and loss > factor * max(usual, 0.01):
            reason = f"the loss is over {factor:g} times its running median of {usual:.4g}"
        if reason:
            first = sentences[0]
            raise DivergedError(
                f"step {self.position.step + 1}: {reason} (loss {loss:.4g}, gradient norm "
                f"{norm:.4g}, batch of {len(sentences)} sentences, the first at "
                f"{first.path}:{first.line}); the weights are as they were before this step. Try a "
                "lower training.learning_rate or training.gradient_clip"
            )
        recent.append(loss)

    def _average(self) -> None:
        """Move the average towards the weights, faster at first (Polyak averaging with warm-up)."""
        decay = min(self.config.average_decay, (1 + self.position.step) / (10 + self.position.step))
        with torch.no_grad():
            # of the embedding, only the rows that this process learns
            averaged, learnt = (
                [self.parallel.own(network.embedding)]
                + [each for each in network.parameters() if each is not network.embedding]
                for network in (self.averaged, self.network)
            )
            torch._foreach_lerp_(averaged, learnt, 1.0 - decay)

    def _evaluate(self, interruption: Interruption | None) -> EvaluationRow:
        position = self.position
        self._complete(self.averaged)
        with self._losing_work(interruption):
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
        position.evaluations_since_best += 1
        # A small corpus takes epochs until the first entity is found: that is no reason to give up.
        if best or position.best_f1 == 0.0:
            position.evaluations_since_best = 0
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
        """Fetch the rows of the embedding that other processes have learnt."""
        with torch.no_grad():
            self.parallel.complete(network.embedding)
        require_same_weights(self.group, network, self.position.step)

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on besides the recipe and the data.

        Collective; it is the same in all processes, however many there are.
        """
        self._complete(self.network)
        self._complete(self.averaged)
        return {
            "network": self.network.state_dict(),
            "optimiser": self._of_embedding(self._optimiser.state_dict(), self.parallel.whole),
            "position": {name: getattr(self.position, name) for name in Position.__slots__},
            "recent_losses": list(self._recent_losses),
        }

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Restore the averaged weights and what `state` returned."""
        self.averaged.load_state_dict(weights)
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(
            self._of_embedding(state["optimiser"], lambda table: self.parallel.own(table).clone())
        )
        self.position = Position(**state["position"])
        self._recent_losses.extend(state["recent_losses"])

    def _of_embedding(
        self, state: dict[str, Any], change: Callable[[Tensor], Tensor]
    ) -> dict[str, Any]:
        """Return an optimiser's state with its tensors of the embedding changed."""
        parameters = [each for group in self._optimiser.param_groups for each in group["params"]]
        place = next(i for i, each in enumerate(parameters) if each is self.parallel.embedding)
        held = state["state"].get(place, {})
        changed = {name: change(value) if value.dim() else value for name, value in held.items()}
        return {**state, "state": {**state["state"], place: changed}} if held else state


def evaluation_points(n_batches: int, per_epoch: float, epoch: int, n_epochs: int) -> set[int]:
    """Return after how many batches of this epoch to evaluate.

    With `per_epoch` below one, at the end of every 1 / `per_epoch` epochs, and of the last.
    """
    if per_epoch >= 1:
        times = min(round(per_epoch), max(n_batches, 1))
        return {max(1, round(n_batches * part / times)) for part in range(1, times + 1)}
    every = round(1 / per_epoch)
    return {n_batches} if (epoch + 1) % every == 0 or epoch + 1 == n_epochs else set()
