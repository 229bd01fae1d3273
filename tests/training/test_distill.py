"""Teachers: what they teach a student, whatever it is made of; what such a run does and refuses."""

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from teddy.model.errors import ModelFileError, RecipeError, TrainingError
from teddy.model.features.batching import make_batch
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import TrainingData, read_manifest
from teddy.model.network.crf import ConditionalRandomField
from teddy.model.network.encoder import LockedDropout
from teddy.model.network.tagger_network import Network
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.words import Tokeniser
from teddy.training.data.corpora import load_corpora
from teddy.training.data.raw_text import RawText, Words, as_sentence
from teddy.training.data.shelf import Shelf
from teddy.training.job.record import Record
from teddy.training.learning.batches import words_for_teachers
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.distill import Distillation, open_distillation
from teddy.training.learning.input_noise import augment
from teddy.training.learning.readings import Readings
from teddy.training.learning.teacher import (
    Expectations,
    Teacher,
    cross_entropy,
    expectations,
    load_teacher,
    placed,
)
from teddy.training.learning.torch_setup import generator, seed_torch
from teddy.training.loop import Trainer
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.recipe.sections import AugmentConfig
from teddy.training.run import train

CPU = torch.device("cpu")
SENTENCES = [
    ("Anna", "Berg", "sleeps"),
    ("Oslo",),
    ("Who", "saw", "Mira", "in", "Port", "Ellen", "?"),
]
RAW = (
    "Jonas Falk met Otto Lind in Lund. The bears of Oslo sleep.\n\n"
    "Ida Holm and Mira like New Haven.\n"
    "Teddy Marsh went to Ghent today. Who saw Anna Berg? Nobody was in Port Ellen.\n"
)
STUDENT = """
[[corpus]]
name = "judge"
licence = "CC0"
dev = ["dev.conll"]

[distill]
teachers = ["teacher.teddy"]
"""
Rows = list[dict[str, Any]]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture(scope="module")
def data(tiny_data: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up corpus, a text, and the tiny model as a teacher, as model file and checkpoint."""
    directory = tmp_path_factory.mktemp("distil-data")
    for name in ("train.conll", "dev.conll", "tiny.toml"):
        shutil.copy(tiny_data / name, directory / name)
    shutil.copy(tiny_run / "tiny.teddy", directory / "teacher.teddy")
    shutil.copy(tiny_run / "best.checkpoint", directory / "teacher.checkpoint")
    (directory / "raw.txt").write_text(RAW * 3)
    recipe = (tiny_data / "tiny.toml").read_text()
    recipe = recipe.replace('dev = ["dev.conll"]', 'map = { LOC = "O" }\nannotates = ["PER"]')
    (directory / "student.toml").write_text(recipe + STUDENT)
    return directory


def student_recipe(data: Path, *changes: str) -> Recipe:
    """A recipe whose one training corpus knows of persons only, while dev judges both labels."""
    return load_recipe(data / "student.toml", changes)


WITH_TEXT = (
    'distill.text=["raw.txt"]',
    'distill.name="a library"',
    'distill.licence="CC0"',
    "distill.words=60",
)


def open_with(recipe: Recipe, data: Path) -> Distillation:
    assert recipe.distill is not None
    return open_distillation(recipe, recipe.distill, data, CPU, folder=data / "teachers")


@pytest.fixture(scope="module")
def make_trainer(data: Path) -> MakeTrainer:
    """A function that makes a trainer with a teacher, fresh from its seed."""
    recipe = student_recipe(data, *WITH_TEXT, "training.epochs=2", "training.word_dropout=0.2")
    corpora = load_corpora(recipe, data)
    corpora[0] = replace(corpora[0], train=corpora[0].train[:60])
    features = load_checkpoint(data / "teacher.checkpoint").build()[1]

    def make(
        seed: int = 1,
        *,
        alone: bool = False,
        augmentation: AugmentConfig | None = None,
        **changes: Any,
    ) -> Trainer:
        seed_torch(seed)
        tag_set = TagSet(recipe.labels)
        network = Network(recipe.network, features.n_rows, tag_set)
        distillation = None if alone else open_with(recipe, data)
        return Trainer(
            network,
            features,
            tag_set,
            corpora,
            recipe.training.model_copy(update=changes),
            seed=seed,
            device=CPU,
            augmentation=augmentation,
            distillation=distillation,
        )

    return make


def without_speed(rows: Iterator[Any]) -> Rows:
    return [{key: value for key, value in row.items() if key != "words_per_second"} for row in rows]


# Teachers.


@pytest.mark.parametrize("name", ["teacher.teddy", "teacher.checkpoint"])
def test_a_teacher_expects_what_its_tagger_says(data: Path, tiny_run: Path, name: str) -> None:
    """The marginals of the best tags are those of tagging, whatever the padding and the batch."""
    network, features, _ = load_checkpoint(tiny_run / "best.checkpoint").build()
    teacher = load_teacher(name, data)
    teacher.network.train()
    expected = Teacher(teacher.network, teacher.features, teacher.tag_set).expectations(
        SENTENCES, 1.0, device=CPU, mixed_precision="fp32"
    )
    for row, sentence in enumerate(SENTENCES):
        batch = make_batch([sentence], features)
        tags, marginal, _, _ = network(
            network.word_vectors(batch.rows, batch.starts), batch.words, batch.lengths
        )
        found = expected.unary[row, : len(sentence)].gather(1, tags[0].unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(found, marginal[0].detach(), rtol=1e-3, atol=1e-4)
        assert not expected.unary[row, len(sentence) :].any()


@pytest.mark.parametrize(
    "labels", [("LOC", "PER"), ("PER", "LOC"), ("LOC", "PET", "PER")], ids=",".join
)
def test_a_student_may_number_its_labels_in_another_order_and_have_more(
    labels: tuple[str, ...],
) -> None:
    ours, theirs = TagSet(labels), TagSet(("PER", "LOC"))
    n_theirs = len(theirs.tags)
    expected = Expectations(
        unary=torch.rand(2, 3, n_theirs), pairs=torch.rand(2, n_theirs, n_theirs)
    )
    found = placed(expected, [ours.index(tag) for tag in theirs.tags], len(ours.tags))
    for i, tag in enumerate(theirs.tags):
        assert torch.equal(found.unary[:, :, ours.index(tag)], expected.unary[:, :, i])
        for j, following in enumerate(theirs.tags):
            assert torch.equal(
                found.pairs[:, ours.index(tag), ours.index(following)], expected.pairs[:, i, j]
            )
    torch.testing.assert_close(found.unary.sum(), expected.unary.sum())
    torch.testing.assert_close(found.pairs.sum(), expected.pairs.sum())


def random_field(tag_set: TagSet) -> ConditionalRandomField:
    crf = ConditionalRandomField(
        tag_set.allowed_transitions(), tag_set.allowed_first(), tag_set.allowed_last()
    )
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def test_among_the_labels_that_a_teacher_knows_a_student_learns_as_one_that_knows_no_others() -> (
    None
):
    torch.manual_seed(5)
    ours, theirs = TagSet(("LOC", "PET", "PER")), TagSet(("PER", "LOC"))
    large, small = random_field(ours), random_field(theirs)
    places = torch.tensor([ours.index(tag) for tag in theirs.tags])
    with torch.no_grad():
        small.transition.copy_(large.transition[places][:, places])
        small.first.copy_(large.first[places])
        small.last.copy_(large.last[places])
    lengths = torch.tensor([4, 2])
    taught = expectations(random_field(theirs), torch.randn(2, 4, len(theirs.tags)), lengths)
    emissions = torch.randn(2, 4, len(ours.tags), requires_grad=True)
    known = torch.zeros(len(ours.tags), dtype=torch.bool)
    known[places] = True
    expected = placed(taught, places.tolist(), len(ours.tags))
    found = cross_entropy(large, emissions, lengths, expected, known=known)
    torch.testing.assert_close(
        found, cross_entropy(small, emissions[:, :, places], lengths, taught)
    )
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert emissions.grad is not None
    assert not emissions.grad[:, :, ~known].any(), (
        "of the label that the teacher does not know it says nothing"
    )


def test_a_student_that_has_the_weights_of_its_teacher_has_nothing_to_learn(data: Path) -> None:
    teacher = load_teacher("teacher.checkpoint", data)
    teacher.network.crf.temperature.fill_(1.0)
    config = student_recipe(data).distill
    assert config is not None
    teaching = Distillation(config, [teacher], teacher.tag_set, None, **SETTINGS)
    network = teacher.network.requires_grad_(True)
    batch = make_batch(SENTENCES, teacher.features)
    emissions = network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
    loss = teaching.loss(network.crf, emissions, batch.lengths, SENTENCES, annotated=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() < 1e-5, name


SETTINGS: dict[str, Any] = {
    "longest": 20,
    "batch_words": 40,
    "seed": 1,
    "device": CPU,
    "mixed_precision": "fp32",
}


def test_an_ensemble_of_equal_teachers_is_one_of_them_and_of_different_ones_their_mean(
    data: Path,
) -> None:
    other = load_teacher("teacher.checkpoint", data)
    with torch.no_grad():
        other.network.emission.bias.add_(torch.linspace(-1, 1, len(other.tag_set.tags)))
    config = student_recipe(data, 'distill.teachers=["a", "b"]').distill
    assert config is not None

    def read(*teachers: Teacher) -> Expectations:
        names = config.model_copy(update={"teachers": tuple(map(str, range(len(teachers))))})
        (panel,) = Distillation(names, teachers, other.tag_set, None, **SETTINGS).panels
        return panel.expectations(SENTENCES)

    teacher = load_teacher("teacher.checkpoint", data)
    one, two, both, twice = read(teacher), read(other), read(teacher, other), read(teacher, teacher)
    for field in ("unary", "pairs"):
        assert torch.equal(getattr(twice, field), getattr(one, field))
        torch.testing.assert_close(
            getattr(both, field), (getattr(one, field) + getattr(two, field)) / 2
        )
        assert not torch.allclose(getattr(one, field), getattr(two, field))


# The text of an epoch, and the updates that read it.


@pytest.mark.parametrize(("words", "n_updates"), [(60, 1), (60, 3), (60, 7), (1000, 4), (1, 5)])
def test_the_epochs_text_is_spread_over_its_updates(data: Path, words: int, n_updates: int) -> None:
    config = student_recipe(data, *WITH_TEXT, f"distill.words={words}").distill
    assert config is not None
    text = RawText(["raw.txt"], data, Tokeniser(), passage_characters=100)
    teacher = load_teacher("teacher.checkpoint", data)
    readings = Readings(Shelf(data / "teachers"))
    teaching = Distillation(config, [teacher], teacher.tag_set, text, readings=readings, **SETTINGS)
    for epoch in (0, 1, 0):
        updates = [teaching.batches(epoch, update, n_updates) for update in range(n_updates)]
        assert all(updates), "each has some"
        lengths = [
            [len(sentence.words) for sentence in batch] for update in updates for batch in update
        ]
        assert all(max(each) * len(each) <= 40 for each in lengths)
        shelved = readings.shelf.of_text(text, 20)
        stretch = [
            shelved.sentences(place)[number]
            for place, numbers in shelved.share(epoch, words, 0).items()
            for number in numbers
        ]
        read = [sentence.words for update in updates for batch in update for sentence in batch]
        assert set(read) == set(stretch)
        if len(lengths) > n_updates:
            assert sorted(read) == sorted(stretch), "nothing is read twice"
            assert max(map(len, updates)) - min(map(len, updates)) <= 1
        fresh = Distillation(
            config, [teacher], teacher.tag_set, text, readings=readings, **SETTINGS
        )
        assert fresh.batches(epoch, n_updates - 1, n_updates) == updates[-1], "a pure function"


def test_the_loss_of_an_update_is_the_mean_over_the_words_of_corpus_and_text(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(word_dropout=0.0, feature_dropout=0.0)
    for module in trainer.network.modules():
        if isinstance(module, LockedDropout):
            module.probability = 0.0
    teaching = trainer.distillation
    assert teaching is not None
    epoch = trainer.source.epoch(0)
    total, n_words = 0.0, 0
    batches = [next(epoch.batches()), *teaching.batches(0, 0, len(epoch))]
    for sentence in (sentence.words for batch in batches for sentence in batch):
        batch = make_batch([sentence], trainer.features)
        emissions = trainer.network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
        expected = teaching.panels[0].expectations([sentence])
        total += cross_entropy(trainer.network.crf, emissions, batch.lengths, expected).sum().item()
        n_words += len(sentence)
    row: Any = next(trainer.run())
    assert row["distillation_loss"] == pytest.approx(total / n_words, rel=1e-5)


def test_without_teachers_nothing_is_said_of_them_and_the_first_loss_is_the_same(
    make_trainer: MakeTrainer,
) -> None:
    alone: Any = next(make_trainer(alone=True).run())
    taught: Any = next(make_trainer().run())
    assert "distillation_loss" not in alone
    assert taught["loss"] == alone["loss"]
    assert taught["gradient_norm"] != alone["gradient_norm"]


@pytest.mark.parametrize("n_rows", [0, 3, 5, 7])
def test_a_run_with_teachers_that_is_put_back_at_any_row_goes_on_as_if_nothing_had_happened(
    make_trainer: MakeTrainer, n_rows: int
) -> None:
    augmentation = AugmentConfig(lower=0.2, upper=0.2, typos=0.2, unpunctuated=0.2, joined=0.2)
    whole = make_trainer(augmentation=augmentation)
    expected = without_speed(whole.run())
    assert len(expected) == 10
    stopped = make_trainer(augmentation=augmentation)
    rows = without_speed(islice(stopped.run(), n_rows))
    stream = io.BytesIO()
    torch.save((stopped.averaged.state_dict(), stopped.state()), stream)
    stream.seek(0)
    resumed = make_trainer(augmentation=augmentation)
    torch.manual_seed(999)
    resumed.restore(*torch.load(stream, weights_only=True))
    rows += without_speed(resumed.run())
    assert rows == expected
    for name, tensor in whole.averaged.state_dict().items():
        assert torch.equal(resumed.averaged.state_dict()[name], tensor), name


# Guises.


GUISES = [
    as_sentence(words, Tokeniser()) for words in (("Anna", "Berg", "sleeps", "."), ("Oslo", "!"))
]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AugmentConfig(), [each.words for each in GUISES]),
        (AugmentConfig(lower=1.0), [each.words for each in GUISES]),
        (AugmentConfig(upper=1.0), [each.words for each in GUISES]),
        (AugmentConfig(unpunctuated=1.0, lower=1.0), None),
        (AugmentConfig(joined=1.0), None),
    ],
)
def test_teachers_read_sentences_as_they_were_when_only_their_case_has_changed_and_else_their_guise(
    config: AugmentConfig, expected: list[Words] | None
) -> None:
    guises = augment(GUISES, config, generator(1))
    found = words_for_teachers(GUISES, guises)
    assert found == (expected or [guise.words for guise in guises])
    assert [len(words or ()) for words in found] == [len(guise.words) for guise in guises]


# What a student learns.


def label_f1(output: Path, label: str) -> float:
    scores = read_manifest(output / "tiny.teddy").scores
    return (
        float(scores["dev_by_corpus"]["judge"]["f1"])
        if label == "micro"
        else float(scores["dev"]["labels"][label]["f1"])
    )


def test_a_student_learns_from_its_teacher_what_its_corpus_does_not_annotate(
    data: Path, tmp_path: Path
) -> None:
    """Of places its corpus says nothing at all."""
    taught = student_recipe(data, *WITH_TEXT, "network.hidden_width=10", "pieces.vocabulary=320")
    alone = taught.model_copy(update={"distill": None})
    for name, recipe in (("taught", taught), ("alone", alone)):
        train(recipe, data, tmp_path / name)
    assert label_f1(tmp_path / "taught", "LOC") > 0.9
    assert label_f1(tmp_path / "taught", "PER") > 0.9
    assert label_f1(tmp_path / "alone", "LOC") < 0.3
    rows = [row for row in Record(tmp_path / "taught").rows() if row["kind"] == "update"]
    losses = [float(row["distillation_loss"] or 0.0) for row in rows]
    assert losses[-1] < losses[0] / 3


# Credit, and what is refused.


def test_a_run_says_who_teaches_and_what_is_read(data: Path) -> None:
    said = open_with(student_recipe(data, *WITH_TEXT), data).summary
    assert said == "taught by teacher.teddy on the corpora and 60 words of a library in each epoch"
    said = open_with(student_recipe(data, *WITH_TEXT, "distill.on_corpora=false"), data).summary
    assert said == "taught by teacher.teddy on 60 words of a library in each epoch"
    assert open_with(student_recipe(data), data).summary == "taught by teacher.teddy on the corpora"


def test_a_student_credits_its_teachers_corpora_and_the_text(data: Path) -> None:
    learnt = open_with(student_recipe(data, *WITH_TEXT), data).training_data
    assert TrainingData(name="a library", licence="CC0") in learnt
    assert {each.name for each in learnt} == {"a library", "made-up"}


def test_a_teacher_of_other_labels_is_refused_in_one_line_that_names_both(data: Path) -> None:
    recipe = load_recipe(
        data / "tiny.toml",
        [
            'labels=["PER", "CITY"]',
            'corpus.0.map={LOC="CITY"}',
            'distill.teachers=["teacher.teddy"]',
        ],
    )
    with pytest.raises(TrainingError, match=r"^teacher\.teddy: .* PER, LOC; .* PER, CITY"):
        open_with(recipe, data)


def test_a_teacher_that_forbids_nothing_cannot_teach_a_student_that_does(data: Path) -> None:
    checkpoint = load_checkpoint(data / "teacher.checkpoint")
    config = replace(checkpoint.network, decoder="softmax")
    tag_set = TagSet(checkpoint.labels)
    features: WordFeatures = checkpoint.build()[1]
    teacher = Teacher(Network(config, features.n_rows, tag_set), features, tag_set)
    assert teacher.places_in(tag_set, forbids=False, name="soft") == list(range(len(tag_set.tags)))
    with pytest.raises(TrainingError, match=r"soft: .*softmax"):
        teacher.places_in(tag_set, forbids=True, name="soft")


@pytest.mark.parametrize(
    ("changes", "error", "expected"),
    [
        (['distill.teachers=["nobody.teddy"]'], ModelFileError, "nobody.teddy"),
        (['distill.teachers=["raw.txt"]'], ModelFileError, "raw.txt"),
    ],
)
def test_a_teacher_that_cannot_be_read_is_named(
    data: Path, changes: list[str], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        open_with(student_recipe(data, *changes), data)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["distill.on_corpora=false"], "distill.text: there is nothing to distil on"),
        (['distill.text=["raw.txt"]'], "distill.name: missing"),
        (['distill.text=["raw.txt"]', 'distill.name="x"'], "distill.licence: missing"),
        (["distill.weight=0"], "distill.weight"),
        (["distill.teachers=[]"], "distill.teachers"),
        (["distill.wieght=1"], "distill.wieght: unknown key.*weight"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(
    data: Path, changes: list[str], expected: str
) -> None:
    with pytest.raises(RecipeError, match=expected):
        student_recipe(data, *changes)
