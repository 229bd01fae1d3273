"""Training by several processes: they learn what one learns, stay alike, and stop together."""

import shutil
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from teddy.training.commands import launched
from teddy.training.learning.batches import cut
from teddy.training.learning.distributed.process_group import (
    SINGLE_PROCESS,
    ProcessGroup,
    join_group,
)
from tests.training.processes import (
    NO_DROPOUT,
    NOISY,
    TAUGHT,
    Course,
    Lives,
    left_by,
    live_together,
    tensors,
)

RAW = (
    "Jonas Falk met Otto Lind in Lund.\n\nThe bears of Oslo sleep.\n"
    "Ida Holm and Mira like New Haven.\n"
) * 4
COURSES = {
    "on the same batch, with nothing drawn": NO_DROPOUT,
    "with dropout and augmentation": NOISY,
    "with teachers, on raw text too": (*TAUGHT, *NOISY),
    "with a batch of one sentence, and nothing for the others": (*TAUGHT, "training.batch_words=1"),
    "with gradients that are clipped": ("training.gradient_clip=0.01",),
}
SIZES = (2, 3)


@pytest.fixture(scope="module")
def courses(
    tiny_data: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Course]:
    data = tmp_path_factory.mktemp("parallel-data")
    for name in ("train.conll", "dev.conll", "tiny.toml"):
        shutil.copy(tiny_data / name, data / name)
    shutil.copy(tiny_run / "best.checkpoint", data / "teacher.checkpoint")
    (data / "raw.txt").write_text(RAW)
    common = ("training.evaluations_per_epoch=2", "training.batch_words=60")
    return [Course(data=data, changes=(*common, *changes)) for changes in COURSES.values()]


@pytest.fixture(scope="module")
def found(
    courses: list[Course], tmp_path_factory: pytest.TempPathFactory
) -> dict[int, list[dict[str, Any]]]:
    """What the processes of each group have found, by the size of the group."""
    folder = tmp_path_factory.mktemp("groups")
    return {
        size: live_together(Lives(folder=folder / str(size), courses=courses), size)
        for size in SIZES
    }


def assert_close(one: Any, other: Any) -> None:
    ours, theirs = tensors(one), tensors(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(
            tensor.double(), theirs[name].double(), rtol=0, atol=1e-6, msg=name
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("course", range(len(COURSES)), ids=list(COURSES))
def test_several_processes_have_the_gradients_weights_state_and_rows_of_one(
    found: dict[int, list[dict[str, Any]]], courses: list[Course], course: int, size: int
) -> None:
    # With nothing drawn it does not matter how a batch is cut; else each part draws for itself.
    parts = 1 if course == 0 else size
    alone = courses[course].run(SINGLE_PROCESS, f"training.parts={parts}")
    assert {row["kind"] for row in alone["rows"]} == {"update", "evaluation"} or course == 3
    assert alone["gradients"]["embedding"].any()
    for process in found[size]:
        assert_close(process["courses"][course], alone)


@pytest.mark.parametrize("size", SIZES)
def test_all_processes_leave_the_same_to_the_bit(
    found: dict[int, list[dict[str, Any]]], size: int
) -> None:
    first, *others = (tensors(process["courses"]) for process in found[size])
    for other in others:
        assert first.keys() == other.keys()
        assert [name for name in first if not torch.equal(first[name], other[name])] == []


def test_one_process_goes_on_with_what_several_have_left(
    found: dict[int, list[dict[str, Any]]], courses: list[Course]
) -> None:
    whole = courses[1].trainer(SINGLE_PROCESS, "training.parts=3")
    expected = left_by(whole, islice(whole.run(), courses[1].n_rows + 4))
    left = found[3][0]["courses"][1]
    resumed = courses[1].trainer(SINGLE_PROCESS, "training.parts=3")
    resumed.restore(left["averaged"], left["state"])
    assert_close(left_by(resumed, chain(left["rows"], islice(resumed.run(), 4))), expected)


@pytest.mark.parametrize("size", SIZES)
def test_all_stop_before_they_touch_a_weight_when_one_has_lost_its_numbers(
    found: dict[int, list[dict[str, Any]]], size: int
) -> None:
    (message,) = {process["diverged"] for process in found[size]}
    assert message.startswith("step 2: the loss is not finite")


@pytest.mark.parametrize("size", SIZES)
def test_the_death_of_one_ends_the_others_with_one_line(
    found: dict[int, list[dict[str, Any]]], size: int
) -> None:
    noticed = found[size][0]["noticed"]
    assert len(noticed) == size - 1
    for message in noticed:
        assert message.startswith("another process of this run is gone")
        assert "\n" not in message


@pytest.mark.parametrize("size", SIZES)
def test_what_processes_tell_each_other(found: dict[int, list[dict[str, Any]]], size: int) -> None:
    assert [process["group"] for process in found[size]] == [
        (rank, size, rank == 0) for rank in range(size)
    ]
    assert [process["any"] for process in found[size]] == [[False, True, True]] * size
    numbers = ", ".join(map(str, range(size)))
    assert {process["refused"] for process in found[size]} == {
        f"the processes of this run differ in their numbers ({numbers})"
    }


@given(st.integers(1, 9), st.integers(0, 40))
def test_shares_are_everything_once_and_differ_by_one_at_most(size: int, n_things: int) -> None:
    shares = [ProcessGroup(rank=rank, size=size).share(n_things) for rank in range(size)]
    assert [thing for share in shares for thing in share] == [*range(n_things)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 9))
def test_a_batch_is_cut_into_neighbours_of_as_many_words_as_sentences_allow(
    lengths: list[int], n_parts: int
) -> None:
    parts = cut(lengths, n_parts)
    assert len(parts) == n_parts
    assert [length for part in parts for length in lengths[part]] == lengths
    for part in parts:
        assert abs(sum(lengths[part]) - sum(lengths) / n_parts) <= max(lengths)


def test_a_process_that_torchrun_did_not_start_is_alone() -> None:
    assert launched({"RANK": "1", "WORLD_SIZE": "2"}) == {}
    with join_group(**launched({})) as group:
        assert group == SINGLE_PROCESS
    environ = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    environ |= {"TORCHELASTIC_RUN_ID": "night", "TORCHELASTIC_RESTART_COUNT": "1"}
    assert launched(environ) == {
        "rank": 3,
        "size": 4,
        "local_rank": 1,
        "local_size": 2,
        "restarts": 1,
    }
