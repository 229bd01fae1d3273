"""Every objective is learnt, a run can be resumed, and held-out text is measured as by hand."""

import copy
import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

from teddy.model.errors import TrainingError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.training.job.record import HeldOutRow, UpdateRow
from teddy.training.learning.torch_setup import generator, seed_torch
from teddy.training.pretrain.encoded import EncodedCorpus
from teddy.training.pretrain.objectives import BatchMaker, PretrainingNetwork
from teddy.training.pretrain.pretrainer import HeldOutText, Pretrainer
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import ObjectiveName, PretrainConfig

OBJECTIVES = get_args(ObjectiveName)


def make(recipe: Recipe, corpus: EncodedCorpus, **changes: Any) -> Pretrainer:
    assert recipe.pretrain is not None
    config = recipe.pretrain.model_copy(update=changes)
    seed_torch(recipe.seed)
    features = WordFeatures(Pieces(corpus.pieces), recipe.features, corpus.words)
    network = PretrainingNetwork(recipe.network, features.n_rows, config)
    return Pretrainer(
        network, features, corpus, config, seed=recipe.seed, device=torch.device("cpu")
    )


def timeless(row: UpdateRow | HeldOutRow) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "words_per_second"}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_falls_and_every_weight_learns(
    text_recipe: Recipe, corpus: EncodedCorpus, objective: ObjectiveName
) -> None:
    pretrainer = make(text_recipe, corpus, objective=objective)
    before = copy.deepcopy(pretrainer.network.state_dict())
    losses = [row["loss"] for row in pretrainer.run() if row["kind"] == "update"]
    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:5])
    after = pretrainer.network.state_dict()
    # torch's recurrent layers have two biases that do the same; all take part.
    assert [name for name in before if torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_run_that_pauses_ends_as_one_that_does_not(
    text_recipe: Recipe, corpus: EncodedCorpus, objective: ObjectiveName
) -> None:
    changes = {"objective": objective, "words": 5000, "evaluation_steps": 4, "layer_dropout": 0.1}
    whole = make(text_recipe, corpus, **changes)
    expected = [timeless(row) for row in whole.run()]
    paused = make(text_recipe, corpus, **changes)
    rows: list[dict[str, Any]] = []
    while not paused.is_finished:
        for row in paused.run():
            rows.append(timeless(row))
            if paused.position.step % 7 == 0:
                break
        state = copy.deepcopy(paused.state())
        paused = make(text_recipe, corpus, **changes)
        paused.restore(state)
    rows += [timeless(row) for row in paused.run()]
    assert rows == expected
    weights, others = whole.network.state_dict(), paused.network.state_dict()
    assert [name for name in weights if not torch.equal(weights[name], others[name])] == []


@pytest.mark.parametrize("words", [1, 900, 4000, 9000])
def test_a_run_has_as_many_steps_as_were_announced(
    text_recipe: Recipe, corpus: EncodedCorpus, words: int
) -> None:
    pretrainer = make(text_recipe, corpus, words=words)
    announced = pretrainer.text.total_steps(pretrainer.config.words)
    rows = [*pretrainer.run()]
    updates = [row for row in rows if row["kind"] == "update"]
    assert len(updates) == announced == pretrainer.position.step
    assert pretrainer.position.words >= words
    assert rows[-1]["kind"] == "held_out"
    assert [*pretrainer.run()] == []


def test_the_learning_rate_rises_and_then_falls_to_its_last_share(
    text_recipe: Recipe, corpus: EncodedCorpus
) -> None:
    pretrainer = make(text_recipe, corpus, warmup_steps=6, final_learning_rate_share=0.1)
    rates = [row["learning_rate"] for row in pretrainer.run() if row["kind"] == "update"]
    assert rates[0] == pytest.approx(0.01 / 6)
    assert rates[:6] == sorted(rates[:6])
    assert rates[6:] == sorted(rates[6:], reverse=True)
    assert 0.001 < rates[-1] < 0.0015


def test_held_out_sentences_are_never_learnt_from(
    text_recipe: Recipe, corpus: EncodedCorpus
) -> None:
    text = make(text_recipe, corpus).text
    read = [sentence for i in range(text.n_batches(0)) for sentence in text.batch(0, i).tolist()]
    learnt_from = np.flatnonzero(~corpus.is_held_out() & (corpus.lengths() >= 5))
    assert sorted(read) == sorted(
        corpus.sentences(learnt_from[i : i + 1])[0].tolist() for i in range(len(learnt_from))
    )


def test_a_loss_that_is_no_number_stops_the_run_before_a_weight_is_touched(
    text_recipe: Recipe, corpus: EncodedCorpus
) -> None:
    pretrainer = make(text_recipe, corpus)
    with torch.no_grad():
        pretrainer.network.get_parameter("encoder.recurrent.0.forwards.layer.weight_ih_l0")[
            0, 0
        ] = math.nan
    before = copy.deepcopy(pretrainer.network.state_dict())
    with pytest.raises(TrainingError, match=r"^step 1: the loss \(nan\)"):
        next(pretrainer.run())
    after = pretrainer.network.state_dict()
    for name, weights in before.items():
        torch.testing.assert_close(after[name], weights, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shortest_sentence": 90}, "no sentence of 90 words to learn from"),
        ({"shortest_sentence": 14}, "try a smaller pretrain.held_out_every"),
    ],
)
def test_too_little_text_is_refused(
    text_recipe: Recipe,
    corpus: EncodedCorpus,
    changes: dict[str, int],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "held_out" in message:
        nothing = np.zeros(0, dtype=np.int64)
        monkeypatch.setattr(EncodedCorpus, "held_out", lambda *_: (nothing, nothing))
    with pytest.raises(TrainingError, match=message):
        make(text_recipe, corpus, **changes)


@pytest.mark.parametrize("n_candidates", [3, 15, 1000])
def test_held_out_perplexity_and_accuracy_are_those_counted_one_by_one(
    text_recipe: Recipe, corpus: EncodedCorpus, config: PretrainConfig, n_candidates: int
) -> None:
    pretrainer = make(text_recipe, corpus, objective="causal")
    network = pretrainer.network
    features = WordFeatures(Pieces(corpus.pieces), text_recipe.features, corpus.words)
    maker = BatchMaker(corpus, network.objective, features.group_starts)
    config = config.model_copy(
        update={"evaluation_words": n_candidates, "evaluation_sentences": 10_000}
    )
    held_out = HeldOutText(corpus, config)
    perplexity, accuracy = held_out.measure(network, maker, torch.device("cpu"))
    assert network.training

    types = corpus.types()
    n_candidates = min(n_candidates, len(types))
    vectors = network.word_vectors(*map(torch.from_numpy, features.bag(types)))
    frequencies = np.maximum(1, corpus.counts[:n_candidates]) / corpus.counts.sum()
    log_prior = torch.from_numpy(np.log(frequencies)).float()
    nats: list[float] = []
    right: list[bool] = []
    for sentence in np.flatnonzero(corpus.is_held_out() & (corpus.lengths() >= 5)):
        words = corpus.sentences(np.array([sentence]))
        ids = torch.from_numpy(words[0])
        batch, distinct = maker.make(words, generator(0))
        queries, found, _ = network.guesses(batch)
        targets = [*ids[1:].tolist(), *ids.flip(0)[1:].tolist()]
        assert targets == distinct[found].tolist()
        for query, target in zip(queries, targets, strict=True):
            if target < n_candidates:
                logits = (vectors[:n_candidates] @ query) * (2 / math.sqrt(16)) + log_prior
                nats.append(-functional.log_softmax(logits, dim=0)[target].item())
                right.append(int(logits.argmax()) == target)
    assert perplexity == pytest.approx(math.exp(np.mean(nats)), rel=1e-4)
    assert accuracy == pytest.approx(np.mean(right))


def test_so_many_held_out_sentences_are_asked_and_no_more(
    corpus: EncodedCorpus, config: PretrainConfig
) -> None:
    n_held_out = int((corpus.is_held_out() & (corpus.lengths() >= 5)).sum())
    for asked in (1, 5, n_held_out, 10_000):
        held_out = HeldOutText(corpus, config.model_copy(update={"evaluation_sentences": asked}))
        assert held_out.n_sentences == min(asked, n_held_out)
