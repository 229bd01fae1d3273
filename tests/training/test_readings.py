"""What teachers say, on disk: equal to what they say when asked, read once, and never half."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.tags.tag_set import TagSet
from teddy.model.text.words import Tokeniser
from teddy.training.data.raw_text import RawText, Words
from teddy.training.data.shelf import Shelf, alone
from teddy.training.learning.distill import Distillation
from teddy.training.learning.readings import KnownSentences, Readings, expectations_of, mean_reading
from teddy.training.learning.teacher import Expectations, expectations
from teddy.training.recipe.sections import DistillConfig
from tests.training.test_distill import random_field

TAGS = TagSet(("PER", "LOC"))
CPU = torch.device("cpu")
SENTENCES: list[Words] = [("Anna", "sleeps"), ("Oslo",), ("Who", "saw", "Mira", "?")] * 3
Tree = dict[str, bytes]


def tree(folder: Path) -> Tree:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class MadeUpTeacher:
    """Says of a sentence what its words alone decide; counts what it reads."""

    training_data = ()

    def __init__(self, seed: int = 0, labels: Sequence[str] = TAGS.labels) -> None:
        torch.manual_seed(seed)
        self.tag_set = TagSet(tuple(labels))
        self.digest = f"{seed} {labels}".encode()
        self.n_read = 0
        self.breaks_after = 10**9
        self._field = random_field(self.tag_set)
        self._scores = torch.randn(97, len(self.tag_set.tags))

    def to(self, device: torch.device) -> None: ...

    def places_in(self, tag_set: TagSet, *, forbids: bool, name: str) -> list[int]:  # noqa: ARG002
        return [tag_set.index(tag) for tag in self.tag_set.tags]

    def expectations(
        self, sentences: Sequence[Words], temperature: float = 1.0, **_: Any
    ) -> Expectations:
        if self.n_read >= self.breaks_after:
            raise InterruptedError
        self.n_read += len(sentences)
        lengths = torch.tensor([len(words) for words in sentences])
        emissions = torch.zeros(len(sentences), int(lengths.max()), len(self.tag_set.tags))
        for row, words in enumerate(sentences):
            for at, word in enumerate(words):
                emissions[row, at] = self._scores[sum(word.encode()) % 97]
        with torch.no_grad():
            return expectations(self._field, emissions, lengths, temperature)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    lines = [f"Anna {number} sleeps in Oslo . Who saw {number} there ?" for number in range(40)]
    (tmp_path / "raw.txt").write_text("\n".join(lines))
    return tmp_path


MakeDistillation = Callable[..., Distillation]


@pytest.fixture
def make(library: Path) -> MakeDistillation:
    def make(
        *teachers: MadeUpTeacher,
        folder: str = "kept",
        seed: int = 1,
        number_format: Any = np.float16,
        note: Callable[[str], None] = lambda _: None,
        **changes: Any,
    ) -> Distillation:
        config = DistillConfig(
            teachers=tuple(f"teacher-{number}" for number in range(len(teachers))),
            text=("raw.txt",),
            name="a library",
            licence="CC0",
            words=90,
            **changes,
        )
        return Distillation(
            config,
            teachers,
            TAGS,
            RawText(["raw.txt"], library, Tokeniser(), 300),
            longest=20,
            batch_words=40,
            seed=seed,
            device=CPU,
            mixed_precision="fp32",
            readings=Readings(Shelf(library / folder, note), number_format),
            note=note,
        )

    return make


# What is kept is what was said.


@pytest.mark.parametrize("number_format", [np.float16, np.float64])
def test_what_is_kept_is_what_the_teacher_says(tmp_path: Path, number_format: Any) -> None:
    teacher = MadeUpTeacher()
    readings = Readings(Shelf(tmp_path), number_format)
    folder = readings.of_teacher(teacher.digest, 1.0, {})
    known = KnownSentences()
    kept = readings.get(folder, SENTENCES, teacher.expectations)
    known.add(SENTENCES, mean_reading([kept], [range(9)]), range(len(SENTENCES)))
    found = [known.find(words) for words in SENTENCES]
    read = expectations_of([each for each in found if each is not None])
    said = teacher.expectations(SENTENCES)
    if number_format == np.float64:
        torch.testing.assert_close(read.unary, said.unary, rtol=0, atol=1e-15)
        torch.testing.assert_close(read.pairs, said.pairs, rtol=0, atol=1e-15)
    torch.testing.assert_close(read.unary, said.unary, rtol=1e-3, atol=7e-4)
    torch.testing.assert_close(read.pairs, said.pairs, rtol=1e-3, atol=3e-3)
    lengths = torch.tensor([len(words) for words in SENTENCES])
    torch.testing.assert_close(read.unary.sum(dim=(1, 2)), lengths.double())
    torch.testing.assert_close(read.pairs.sum(dim=(1, 2)), lengths.double() - 1)
    assert known.find(("Nobody",)) is None


def test_of_some_sentences_of_a_file_the_right_ones_are_found(tmp_path: Path) -> None:
    teacher, readings = MadeUpTeacher(), Readings(Shelf(tmp_path), np.float64)
    sentences: list[Words] = [("a",), ("b", "c"), ("d", "e", "f"), ("g", "h")]
    reading = readings.get(readings.of_teacher(b"", 1.0, {}), sentences, teacher.expectations)
    known = KnownSentences()
    known.add(sentences, reading, [1, 3])
    for number in (1, 3):
        found, said = known.find(sentences[number]), teacher.expectations([sentences[number]])
        assert found is not None
        np.testing.assert_allclose(found[0], said.unary[0].numpy(), atol=1e-15)
        np.testing.assert_allclose(found[1], said.pairs[0].numpy(), atol=1e-15)
    assert known.find(sentences[0]) is None


@pytest.mark.parametrize(("number_format", "precision"), [(np.float64, 1e-9), (np.float16, 2e-3)])
def test_a_student_learns_the_same_from_what_is_kept_and_by_asking(
    make: MakeDistillation, number_format: Any, precision: float
) -> None:
    teachers = MadeUpTeacher(1), MadeUpTeacher(2, ("LOC", "PER")), MadeUpTeacher(3, ("PER",))
    kept = make(*teachers, number_format=number_format)
    kept.prepare(0)
    batch = [sentence.words for sentence in kept.batches(0, 0, 1)[0]]
    lengths = torch.tensor([len(words) for words in batch])
    field = random_field(TAGS)
    emissions = torch.randn(len(batch), int(lengths.max()), 9, requires_grad=True)

    def learnt(distillation: Distillation, words: Sequence[Words | None]) -> torch.Tensor:
        loss = distillation.loss(field, emissions, lengths, words, annotated=False)
        gradient, *_ = torch.autograd.grad(loss, [emissions])
        return torch.cat((loss.detach().reshape(1), gradient.double().flatten()))

    before = [teacher.n_read for teacher in teachers]
    found = learnt(kept, batch)
    assert [teacher.n_read for teacher in teachers] == before, "nothing is asked for"
    for panel in kept.panels:
        panel.remember()
    torch.testing.assert_close(found, learnt(kept, batch), rtol=precision, atol=precision)
    assert [teacher.n_read for teacher in teachers] > before


def test_the_loss_of_teachers_with_other_labels_is_the_mean_of_each_ones(
    make: MakeDistillation,
) -> None:
    teachers = MadeUpTeacher(1), MadeUpTeacher(2), MadeUpTeacher(3, ("PER",))
    lengths = torch.tensor([len(words) for words in SENTENCES])
    field, emissions = random_field(TAGS), torch.randn(len(SENTENCES), 4, 9)

    def loss(*several: MadeUpTeacher) -> torch.Tensor:
        teaching = make(*several)
        return teaching.loss(field, emissions, lengths, SENTENCES, annotated=False).detach()

    alone = torch.stack([loss(teacher) for teacher in teachers])
    torch.testing.assert_close(loss(*teachers), alone.mean(), rtol=1e-6, atol=0.0)


def test_of_a_sentence_that_is_not_to_be_read_nothing_is_learnt(make: MakeDistillation) -> None:
    teaching, field = make(MadeUpTeacher()), random_field(TAGS)
    lengths = torch.tensor([len(words) for words in SENTENCES])
    emissions = torch.randn(len(SENTENCES), 4, 9, requires_grad=True)
    some = [words if row % 3 == 1 else None for row, words in enumerate(SENTENCES)]
    loss = teaching.loss(field, emissions, lengths, some, annotated=True)
    loss.backward()  # type: ignore[no-untyped-call]
    assert emissions.grad is not None
    silent = [row for row, words in enumerate(some) if words is None]
    assert not emissions.grad[silent].any()
    rows = [row for row, words in enumerate(some) if words is not None]
    expected = teaching.loss(
        field, emissions[rows], lengths[rows], [SENTENCES[row] for row in rows], annotated=True
    )
    torch.testing.assert_close(loss, expected)
    nothing = teaching.loss(field, emissions, lengths, [None] * len(SENTENCES), annotated=True)
    assert nothing.item() == 0.0


# Read once.


def test_another_epoch_seed_or_student_asks_for_nothing_and_one_more_teacher_reads_alone(
    make: MakeDistillation,
) -> None:
    first, second = MadeUpTeacher(1), MadeUpTeacher(2)
    make(first).fill(20)
    n_read = first.n_read
    assert n_read >= 80, "all of the text"
    student = make(first, seed=2)
    for epoch in range(20):
        for batch in student.batches(epoch, 0, 1):
            student.panels[0].expectations([sentence.words for sentence in batch])
    make(first, second).fill(20)
    assert first.n_read == n_read
    assert second.n_read == n_read
    make(first, temperature=2.0).fill(20)
    assert first.n_read == 2 * n_read, "what it says with another temperature is something else"


@settings(max_examples=40)
@given(words=st.integers(1, 300), most=st.sampled_from([0, 0, 1, 50, 200, 10_000]))
def test_epochs_go_round_in_the_pool(
    tmp_path_factory: pytest.TempPathFactory, words: int, most: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "round"
    folder.mkdir(exist_ok=True)
    lines = [" ".join(["word"] * (1 + number % 7)) + f" {number}" for number in range(60)]
    (folder / "raw.txt").write_text("\n".join(lines))
    text = RawText(["raw.txt"], folder, Tokeniser(), 100)
    shelved = Shelf(folder / "kept").of_text(text, 20)
    order = [
        (place, number, len(sentence))
        for place in range(len(text))
        for number, sentence in enumerate(shelved.sentences(place))
    ]
    assert sorted(size for *_, size in order) == sorted(2 + number % 7 for number in range(60))
    pool, total = [], 0
    for each in order:
        if not most or total < most:
            pool.append((total, each))
            total += each[2]
    fresh = Shelf(folder / "kept").of_text(text, 20)
    for epoch in range(5):
        share = fresh.share(epoch, words, most)
        found = {(place, number) for place, numbers in share.items() for number in numbers}
        first = epoch * words % total
        expected = {each[:2] for start, each in pool if (start - first) % total < words} or {
            each[:2] for start, each in pool if start <= first < start + each[2]
        }
        assert found == expected
        assert found == {
            (place, number)
            for place, numbers in shelved.share(epoch, words, most).items()
            for number in numbers
        }, "a pure function"


# Never half.


@pytest.mark.parametrize("n_read", [0, 1, 25, 70, 150])
def test_a_folder_that_was_filled_in_several_goes_is_that_of_one(
    make: MakeDistillation, library: Path, n_read: int
) -> None:
    make(MadeUpTeacher(1), MadeUpTeacher(2), folder="whole").fill(9)
    stopped = MadeUpTeacher(1)
    stopped.breaks_after = n_read
    try:
        make(stopped, folder="parts").fill(9)
    except InterruptedError:
        # What a process leaves that is killed as it writes: locks that no one holds, and halves.
        for name in tree(library / "whole"):
            path = library / "parts" / name
            if path.parent.is_dir() and not path.exists():
                path.with_suffix(".lock").touch()
                half = path.with_name(f".{path.name}.abc.partial")
                half.mkdir()
                (half / path.name).write_bytes(b"half")
    make(MadeUpTeacher(1), MadeUpTeacher(2), folder="parts").fill(9)
    assert tree(library / "parts") == tree(library / "whole")
    assert {Path(name).suffix for name in tree(library / "parts")} == {
        ".words",
        ".reading",
        ".json",
    }


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-3] + b"abc", lambda _: b""])
def test_a_file_that_is_damaged_is_named_and_made_again(
    make: MakeDistillation, library: Path, damage: Callable[[bytes], bytes]
) -> None:
    make(MadeUpTeacher(), folder="kept").fill(9)
    whole = tree(library / "kept")
    damaged = [name for suffix in (".words", ".reading") for name in whole if name.endswith(suffix)]
    for name in damaged:
        (library / "kept" / name).write_bytes(damage(whole[name]))
    said: list[str] = []
    student = make(MadeUpTeacher(), folder="kept", note=said.append)
    for epoch in range(9):
        student.prepare(epoch)
    assert tree(library / "kept") == whole
    expected = [f"{library / 'kept' / name}: damaged, and made again" for name in damaged]
    assert sorted(said) == sorted(expected)


def test_what_another_process_is_making_is_passed_over_or_waited_for(tmp_path: Path) -> None:
    shelf, path = Shelf(tmp_path), tmp_path / "x" / "one.reading"
    with alone(path) as is_alone:
        assert is_alone
        assert not shelf.make(path, lambda: b"two", wait=False)
    assert shelf.make(path, lambda: b"one", wait=False)
    assert not shelf.make(path, lambda: b"two")
    assert tree(tmp_path) == {"x/one.reading": b"one"}


def test_the_readings_of_corpora_are_kept_too(make: MakeDistillation, library: Path) -> None:
    batches = make(MadeUpTeacher()).batches(0, 0, 1)
    sentences = [sentence for batch in batches for sentence in batch]
    corpora = [sentences[:5], sentences[5:]]
    for expected in (len(sentences), 0):
        reader = MadeUpTeacher()
        distillation = Distillation(
            DistillConfig(teachers=("one",)),
            [reader],
            TAGS,
            None,
            longest=20,
            batch_words=40,
            seed=1,
            device=CPU,
            mixed_precision="fp32",
            readings=Readings(Shelf(library / "corpora")),
            corpora=corpora,
        )
        distillation.prepare(0)
        (panel,) = distillation.panels
        panel.expectations([each.words for each in sentences])
        assert reader.n_read == expected
