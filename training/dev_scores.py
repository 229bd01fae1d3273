"""What an evaluation during training measures on dev; several processes divide the sentences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from teddy.model.batching import Batch, make_batch
from teddy.model.network import Network
from teddy.model.tagger import Tagger
from teddy.training.card import evaluate_dev
from teddy.training.corpus.corpora import Corpus
from teddy.training.corpus.sampler import plan_epoch
from teddy.training.corpus.targets import Targets, pad_targets
from teddy.training.distributed.world import World
from teddy.training.scores import Counts

_BATCH_WORDS = 4096


@dataclass(frozen=True, slots=True)
class DevScores:
    """Strict counts of spans, and the mean loss for each word, in nats."""

    counts: Counts
    loss: float


def score_dev(
    network: Network,
    tagger: Tagger,
    corpora: Sequence[Corpus],
    targets: Mapping[str, Targets],
    emissions: Callable[[Network, Batch], Tensor],
    device: torch.device,
    world: World,
) -> DevScores:
    """The scores of a network, which `tagger` reads with, on the dev sentences of all corpora. Collective."""
    own = [replace(corpus, dev=corpus.dev[world.rank :: world.size]) for corpus in corpora]
    found = evaluate_dev(tagger, own, worst=0).scores.micro
    loss, n_words = 0.0, 0
    for corpus in own:
        for members in plan_epoch([len(s.words) for s in corpus.dev], [1.0] * len(corpus.dev), _BATCH_WORDS, 0, 0):
            sentences = [corpus.dev[i] for i in members]
            batch = make_batch([sentence.words for sentence in sentences], tagger.features)
            allowed = pad_targets([targets[corpus.name].allowed(sentence) for sentence in sentences]).to(device)
            n_words += int(batch.lengths.sum())
            batch = batch.to(device)
            with torch.inference_mode():
                loss += network.crf.loss(emissions(network, batch), batch.lengths, allowed).sum().item()
    sums = torch.tensor([found.gold, found.predicted, found.correct, n_words, loss], dtype=torch.float64)
    gold, predicted, correct, n_words, loss = world.sum(sums).tolist()
    return DevScores(Counts(int(gold), int(predicted), int(correct)), loss / max(n_words, 1))
