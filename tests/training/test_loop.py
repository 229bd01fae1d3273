"""The training loop: what decides its course, that it can be resumed, and when it stops."""

import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from teddy.model.errors import TrainingError
from teddy.model.features.rows import WordFeatures
from teddy.model.network.tagger_network import Network
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.corpora import Corpus, load_corpora
from teddy.training.evaluation.measurements import evaluate_dev
from teddy.training.learning.batches import Targets
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.torch_setup import make_optimiser, schedule, seed_torch
from teddy.training.loop import Trainer, evaluation_points
from teddy.training.recipe.recipe import Recipe

Rows = list[dict[str, Any]]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture(scope="module")
def corpora(tiny_data: Path, tiny_recipe: Recipe) -> list[Corpus]:
    """A third of the made-up corpus: a dozen updates in three epochs."""
    (corpus,) = load_corpora(tiny_recipe, tiny_data)
    return [replace(corpus, train=corpus.train[:70], dev=corpus.dev[:20])]


@pytest.fixture(scope="module")
def features(tiny_run: Path) -> WordFeatures:
    return load_checkpoint(tiny_run / "best.checkpoint").build()[1]


@pytest.fixture(scope="module")
def make_trainer(corpora: list[Corpus], features: WordFeatures, tiny_recipe: Recipe) -> MakeTrainer:
    """A function that makes a trainer, fresh from its seed, with changes to the tiny recipe."""

    def make(seed: int = 1, **changes: Any) -> Trainer:
        torch.set_num_threads(1)
        seed_torch(seed)
        config = tiny_recipe.training.model_copy(
            update={"epochs": 3, "evaluations_per_epoch": 2.0, **changes}
        )
        tag_set = TagSet(tiny_recipe.labels)
        network = Network(tiny_recipe.network, features.n_rows, tag_set)
        return Trainer(
            network, features, tag_set, corpora, config, seed=seed, device=torch.device("cpu")
        )

    return make


def without_speed(rows: Iterator[Any]) -> Rows:
    """The rows, less the one number that a clock decides."""
    return [{key: value for key, value in row.items() if key != "words_per_second"} for row in rows]


def weights(trainer: Trainer) -> dict[str, Tensor]:
    both = {"network": trainer.network, "averaged": trainer.averaged}
    return {
        f"{name}.{key}": tensor.clone()
        for name, network in both.items()
        for key, tensor in network.state_dict().items()
    }


def assert_same_weights(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


# One seed fixes everything.


def test_the_same_seed_gives_the_same_rows_and_weights_and_another_seed_gives_others(
    make_trainer: MakeTrainer,
) -> None:
    rows, ends = [], []
    for seed in (1, 1, 2):
        trainer = make_trainer(seed)
        rows.append(without_speed(trainer.run()))
        ends.append(weights(trainer))
    assert rows[0] == rows[1]
    assert_same_weights(ends[0], ends[1])
    losses = [[row["loss"] for row in each] for each in rows]
    assert all(a != b for a, b in zip(losses[0], losses[2], strict=True))


@pytest.mark.parametrize("n_rows", [0, 1, 4, 5, 10, 17])
def test_a_trainer_that_is_put_back_at_any_row_goes_on_as_if_nothing_had_happened(
    make_trainer: MakeTrainer, n_rows: int
) -> None:
    whole = make_trainer(word_dropout=0.2, feature_dropout=0.2)
    expected = without_speed(whole.run())
    assert len(expected) > 17

    stopped = make_trainer(word_dropout=0.2, feature_dropout=0.2)
    rows = without_speed(islice(stopped.run(), n_rows))
    # Through a file, as a checkpoint goes.
    stream = io.BytesIO()
    torch.save((stopped.averaged.state_dict(), stopped.state()), stream)
    stream.seek(0)
    resumed = make_trainer(word_dropout=0.2, feature_dropout=0.2)
    list(islice(resumed.run(), 2))  # whatever it was is forgotten
    resumed = make_trainer(word_dropout=0.2, feature_dropout=0.2)
    torch.manual_seed(999)
    resumed.restore(*torch.load(stream, weights_only=True))
    rows += without_speed(resumed.run())

    assert rows == expected
    assert_same_weights(weights(resumed), weights(whole))


def test_the_state_is_taken_and_not_shared(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    running = trainer.run()
    next(running)
    position = trainer.state()["position"]
    next(running)
    assert position != trainer.state()["position"]


# What a row says.


def test_rows_count_updates_and_say_where_they_stand(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    n_batches = len(trainer.source.epoch(0))
    rows: Rows = [dict(row) for row in trainer.run()]
    updates = [row for row in rows if row["kind"] == "update"]
    evaluations = [row for row in rows if row["kind"] == "evaluation"]
    assert [row["step"] for row in updates] == list(range(1, 3 * n_batches + 1))
    assert [row["epoch"] for row in updates] == [
        epoch for epoch in (1, 2, 3) for _ in range(n_batches)
    ]
    assert len(evaluations) == 6
    assert all(row["words_per_second"] > 0 for row in updates)
    assert updates[-1]["loss"] < updates[0]["loss"] / 2
    assert evaluations[-1]["loss"] < evaluations[0]["loss"]
    assert rows[-1]["kind"] == "evaluation"


def test_an_evaluation_is_of_the_averaged_weights_and_its_loss_is_the_mean_over_words(
    make_trainer: MakeTrainer, corpora: list[Corpus]
) -> None:
    trainer = make_trainer(epochs=1, evaluations_per_epoch=1.0)
    *_, row = trainer.run()
    counts = evaluate_dev(trainer.tagger, corpora, worst=0).scores.micro
    assert row["kind"] == "evaluation"
    assert (row["f1"], row["precision"], row["recall"]) == (
        counts.f1,
        counts.precision,
        counts.recall,
    )
    targets = Targets(trainer.tag_set, corpora[0].annotates)
    total, n_words = 0.0, 0
    for sentence in corpora[0].dev:
        rows, starts = trainer.features.bag(list(sentence.words))
        length = torch.tensor([len(sentence.words)])
        emissions = trainer.averaged.emissions(
            torch.from_numpy(rows),
            torch.from_numpy(starts),
            torch.arange(len(sentence.words)).unsqueeze(0),
            length,
        )
        allowed = torch.from_numpy(targets.allowed(sentence)).unsqueeze(0)
        total += trainer.averaged.crf.loss(emissions, length, allowed).item()
        n_words += len(sentence.words)
    assert row["loss"] == pytest.approx(total / n_words, rel=1e-4)


# The moving average.


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_is_what_a_plain_loop_gives(make_trainer: MakeTrainer, decay: float) -> None:
    trainer = make_trainer(average_decay=decay, epochs=1)
    expected = {name: tensor.double() for name, tensor in trainer.averaged.named_parameters()}
    step = 0
    for row in trainer.run():
        if row["kind"] == "update":
            step += 1
            kept = min(decay, (1 + step) / (10 + step))
            for name, tensor in trainer.network.named_parameters():
                expected[name] = kept * expected[name] + (1 - kept) * tensor.detach().double()
    for name, tensor in trainer.averaged.named_parameters():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-4, atol=1e-6)
    if decay == 0.0:
        found = dict(trainer.network.named_parameters())
        assert all(
            torch.equal(tensor, found[name]) for name, tensor in trainer.averaged.named_parameters()
        )


def test_the_average_is_never_trained_itself(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    next(trainer.run())
    assert not any(tensor.requires_grad for tensor in trainer.averaged.parameters())
    assert not trainer.averaged.training


# Which evaluation is the best, and when patience ends.


def run_with_scores(trainer: Trainer, scores: list[float]) -> tuple[list[bool], int]:
    """Run with these dev F1s, one for each evaluation; return the best ones, and their number."""
    coming = iter(scores)

    def scripted(*_: object, **__: object) -> SimpleNamespace:
        f1 = next(coming)
        return SimpleNamespace(counts=SimpleNamespace(f1=f1, precision=f1, recall=f1), loss=0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("teddy.training.loop.score_dev", scripted)
        best = [row["best"] for row in trainer.run() if row["kind"] == "evaluation"]
    return best, len(best)


@settings(max_examples=25, deadline=None)
@example(scores=[0.0, 0.0, 0.0, 0.0, 0.3, 0.3], patience=2)
@given(
    scores=st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.9]), min_size=6, max_size=6),
    patience=st.integers(0, 4),
)
def test_a_tie_keeps_the_earlier_evaluation_and_patience_counts_those_without_a_better_one(
    make_trainer: MakeTrainer, scores: list[float], patience: int
) -> None:
    best, n_evaluations = run_with_scores(make_trainer(patience=patience), scores)
    expected: list[bool] = []
    for position, score in enumerate(scores):
        expected.append(score > max(scores[:position], default=-1.0))
        # Evaluations before the first entity is found cost no patience.
        if patience and not any(expected[-patience:]) and any(scores[: position - patience + 1]):
            break
    assert best == expected
    assert n_evaluations == len(expected)


def test_a_run_out_of_patience_does_not_go_on_when_it_is_resumed(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(patience=2)
    run_with_scores(trainer, [0.5, 0.5, 0.5])
    resumed = make_trainer(patience=2)
    resumed.restore(trainer.averaged.state_dict(), trainer.state())
    assert list(resumed.run()) == []


# When it must stop.


def assert_stops(trainer: Trainer, reason: str, n_rows: int = 0) -> None:
    """The run stops after so many rows, with a reason, and leaves weights and position alone."""
    running = trainer.run()
    list(islice(running, n_rows))
    before, step = weights(trainer), trainer.position.step
    with pytest.raises(TrainingError, match=reason) as caught:
        next(running)
    assert f"step {step + 1}:" in str(caught.value)
    assert "train.conll:" in str(caught.value)
    assert "\n" not in str(caught.value)
    after = weights(trainer)
    assert [
        name
        for name in before
        if not torch.equal(before[name].nan_to_num(), after[name].nan_to_num())
    ] == []
    assert trainer.position.step == step


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_poisoned_weight_stops_the_run(make_trainer: MakeTrainer, poison: float) -> None:
    trainer = make_trainer()
    with torch.no_grad():
        trainer.network.emission.bias[1] = poison
    assert_stops(trainer, "the loss is not finite")


def patch_loss(trainer: Trainer, change: Callable[[Tensor], Tensor]) -> None:
    exact = trainer._losses

    def losses(*arguments: Any) -> tuple[Tensor, Tensor]:
        loss, distilled = exact(*arguments)
        return change(loss), distilled

    trainer._losses = losses  # type: ignore[assignment, method-assign]


@pytest.mark.parametrize("factor", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_wherever_it_comes(
    make_trainer: MakeTrainer, factor: float
) -> None:
    trainer = make_trainer()
    n_good = 3
    list(islice(trainer.run(), n_good))
    patch_loss(trainer, lambda loss: loss * factor)
    assert_stops(trainer, "the loss is not finite")


def test_a_gradient_that_is_not_finite_stops_the_run(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    # The square root's slope at zero is infinite, its value is not.
    patch_loss(trainer, lambda loss: loss + (loss - loss.detach()).abs().sqrt())
    assert_stops(trainer, "the gradient is not finite")


def test_a_loss_far_over_its_running_median_stops_the_run(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=12, explode_factor=20.0)
    n_updates = 0
    for row in trainer.run():
        n_updates += row["kind"] == "update"
        if n_updates == 51:  # after 50 an evaluation is due, which would come first
            break
    assert n_updates == 51
    resumed = make_trainer(epochs=12, explode_factor=20.0)
    resumed.restore(trainer.averaged.state_dict(), trainer.state())
    for each in (trainer, resumed):
        patch_loss(each, lambda loss: loss * 1e4)
        assert_stops(each, "the loss is over 20 times its running median")


def test_a_high_loss_is_no_reason_to_stop_before_there_is_a_median(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(epochs=1)
    list(islice(trainer.run(), 2))
    patch_loss(trainer, lambda loss: loss * 1e4)
    next(trainer.run())


def test_gradients_are_clipped_by_their_norm_which_is_told_as_it_was_before(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(gradient_clip=1e-3)
    row = next(trainer.run())
    gradients = [each.grad for each in trainer.network.parameters() if each.grad is not None]
    assert row["kind"] == "update"
    assert row["gradient_norm"] > 0.01
    assert torch.stack([each.norm() for each in gradients]).norm().item() == pytest.approx(
        1e-3, rel=1e-3
    )


# The learning rate, the times of evaluation, and what decays.

SHARES = st.floats(0, 1)


@given(st.lists(SHARES, min_size=2, max_size=20), SHARES, SHARES)
def test_the_learning_rate_rises_and_then_falls_between_zero_and_one(
    moments: list[float], warmup: float, final: float
) -> None:
    moments = sorted(moments)
    rates = [schedule(moment, warmup, final) for moment in moments]
    assert all(0.0 <= rate <= 1.0 + 1e-9 for rate in rates)
    for (earlier, rate), (later, next_rate) in pairwise(zip(moments, rates, strict=True)):
        if later < warmup:
            assert rate <= next_rate
        elif earlier >= warmup:
            assert rate >= next_rate - 1e-12


@given(st.floats(0.01, 0.99), SHARES)
def test_the_learning_rate_is_whole_after_the_warm_up_and_its_final_share_at_the_end(
    warmup: float, final: float
) -> None:
    assert schedule(warmup, warmup, final) == 1.0
    assert schedule(1.0, warmup, final) == pytest.approx(final, abs=1e-9)
    assert schedule(warmup / 2, warmup, final) == pytest.approx(0.5)
    assert schedule((1 + warmup) / 2, warmup, final) == pytest.approx((1 + final) / 2, abs=1e-9)
    assert schedule(0.0, 0.0, final) == 1.0
    assert schedule(0.0, warmup, final) > 0.0


def test_a_schedule_of_half_the_updates_is_that_of_a_run_of_half_the_epochs(
    make_trainer: MakeTrainer,
) -> None:
    whole, half = (
        [row["learning_rate"] for row in make_trainer(**changes).run() if row["kind"] == "update"]
        for changes in (
            {"epochs": 4, "schedule_share": 0.5, "patience": 0},
            {"epochs": 2, "patience": 0},
        )
    )
    assert whole[: len(half)] == pytest.approx(half)
    assert len(whole) > len(half)
    lowest = make_trainer().config
    left = lowest.learning_rate * lowest.final_learning_rate_share
    assert whole[len(half) :] == pytest.approx([left] * (len(whole) - len(half)))


@given(st.integers(1, 500), st.floats(1, 1e6), st.integers(0, 5), st.integers(1, 6))
def test_evaluations_are_spread_evenly_over_an_epoch_and_one_is_at_its_end(
    n_batches: int, per_epoch: float, epoch: int, n_epochs: int
) -> None:
    points = sorted(evaluation_points(n_batches, per_epoch, epoch, n_epochs))
    assert points[-1] == n_batches
    assert points[0] >= 1
    assert len(points) == min(round(per_epoch), n_batches)
    gaps = [after - before for before, after in pairwise([0, *points])]
    assert max(gaps) - min(gaps) <= 2


@given(st.integers(1, 50), st.floats(0.001, 0.99), st.integers(1, 60))
def test_with_less_than_one_evaluation_an_epoch_there_is_one_every_few_epochs_and_one_at_the_end(
    n_batches: int, per_epoch: float, n_epochs: int
) -> None:
    points = [evaluation_points(n_batches, per_epoch, epoch, n_epochs) for epoch in range(n_epochs)]
    assert all(each in (set(), {n_batches}) for each in points)
    assert points[-1] == {n_batches}
    assert sum(map(bool, points)) == math.ceil(n_epochs / round(1 / per_epoch))


def test_only_matrices_decay_and_every_weight_is_optimised_once(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    names = {id(parameter): name for name, parameter in trainer.network.named_parameters()}
    groups = make_optimiser(trainer.network, 1e-3, 0.1).param_groups
    optimised = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert sorted(optimised) == sorted(names.values())
    for group in groups:
        for parameter in group["params"]:
            is_matrix = parameter.dim() == 2 and names[id(parameter)].split(".")[0] in (
                "encoder",
                "emission",
            )
            assert group["weight_decay"] == (0.1 if is_matrix else 0.0), names[id(parameter)]
