"""What the recipe's shares do to a batch, and that a run with them can be taken up anywhere."""

import io
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.errors import RecipeError
from teddy.model.tagger import Tagger
from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence, align
from teddy.training.data.corpora import load_corpora
from teddy.training.data.perturbations import joined, lower, title, unpunctuated, upper
from teddy.training.data.readers.rows import Example
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.input_noise import augment, join_in_twos
from teddy.training.learning.torch_setup import generator, seed_torch
from teddy.training.loop import Trainer
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.recipe.sections import AugmentConfig
from teddy.training.run import train

TEXTS = (
    ("Anna Berg went to see the old bears in Oslo.", "Anna Berg"),
    ("Who saw Jonas Falk in Port Ellen today ?", "Jonas Falk"),
    ("the bears", "bears"),
    ("In Ghent, Mira met nobody", "Mira"),
)
SHARES = st.floats(0, 1)
CASES = ("lower", "upper", "title")
NAMES = ("titles", "marks", "lists")
EACH = (*CASES, "unpunctuated", "typos", "joined", *NAMES)


def make_sentence(number: int, corpus: str = "one") -> Sentence:
    text, name = TEXTS[number % len(TEXTS)]
    start = text.index(name)
    example = Example(
        text=text,
        spans=(Span(start, start + len(name), "PER"),),
        span_lines=(1,),
        path="made-up",
        line=number,
        is_sentence=True,
        document=0,
    )
    (sentence,) = align(example, corpus, Tokeniser(), lambda _: None)
    return sentence


def plain_sentence(text: str) -> Sentence:
    """A sentence without entities."""
    example = Example(
        text=text, spans=(), span_lines=(), path="p", line=1, is_sentence=True, document=0
    )
    return align(example, "one", Tokeniser(), lambda _: None)[0]


def batch(n: int) -> list[Sentence]:
    return [make_sentence(i) for i in range(n)]


@given(st.integers(0, 6), st.integers(0, 1000))
def test_with_all_shares_at_nought_nothing_changes_and_nothing_is_drawn(n: int, seed: int) -> None:
    sentences, random = batch(n), generator(seed)
    before = random.bit_generator.state
    assert augment(sentences, AugmentConfig(), random) == sentences
    assert random.bit_generator.state == before


@given(st.lists(SHARES, min_size=9, max_size=9), st.integers(0, 8), st.integers(0, 1000))
def test_the_same_key_gives_the_same_sentences_and_no_entity_is_lost(
    shares: list[float], n: int, seed: int
) -> None:
    values: dict[str, Any] = dict(zip(EACH, shares, strict=True))
    values |= {name: values[name] / 3 for name in (*CASES, *NAMES)}
    config = AugmentConfig(**values)
    once, again = (augment(batch(n), config, generator(seed, 1, 2)) for _ in range(2))
    assert once == again
    # a name that becomes a handle is no entity any more
    handles = sum(word.startswith("@") for sentence in once for word in sentence.words)
    assert sum(len(sentence.spans) for sentence in once) + handles == n


@pytest.mark.parametrize(
    ("name", "change"), [("lower", lower), ("upper", upper), ("title", title), ("joined", None)]
)
def test_with_one_share_at_one_every_sentence_is_changed_as_it_says(
    name: str, change: Callable[[Sentence], Sentence] | None
) -> None:
    sentences = batch(8)
    result = augment(sentences, AugmentConfig.model_validate({name: 1.0}), generator(4))
    if change is not None:
        assert result == [change(sentence) for sentence in sentences]
    else:
        order = generator(4)
        order.random()
        assert result == join_in_twos([sentences[i] for i in order.permutation(8)])


def test_each_share_of_the_sentences_is_changed() -> None:
    config = AugmentConfig(lower=0.1, upper=0.2, title=0.3, unpunctuated=0.4)
    sentence, n = make_sentence(1), 4000
    texts = Counter(each.text for each in augment([sentence] * n, config, generator(7)))
    guises: dict[str, float] = {}
    bare, stopless = unpunctuated(sentence), unpunctuated(sentence, only_last=True)
    assert bare is not None
    assert stopless == bare  # its only punctuation stands at its end
    for form, share in ((sentence, 0.6), (bare, 0.4)):
        for changed, part in (
            (form, 0.4),
            (lower(form), 0.1),
            (upper(form), 0.2),
            (title(form), 0.3),
        ):
            assert changed is not None
            guises[changed.text] = share * part
    assert texts.keys() == guises.keys()
    for text, share in guises.items():
        assert abs(texts[text] / n - share) < 4 * (share * (1 - share) / n) ** 0.5


def test_half_of_the_unpunctuated_lose_the_end_only() -> None:
    sentence, n = plain_sentence("In Oslo, nobody slept."), 2000
    texts = Counter(
        each.text for each in augment([sentence] * n, AugmentConfig(unpunctuated=1.0), generator(7))
    )
    assert texts.keys() == {"In Oslo, nobody slept", "In Oslo nobody slept"}
    assert abs(texts["In Oslo nobody slept"] / n - 0.5) < 4 * (0.25 / n) ** 0.5


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["one", "two"])), max_size=12))
def test_sentences_are_joined_in_twos_within_their_corpus(kinds: list[tuple[int, str]]) -> None:
    sentences = [make_sentence(number, corpus) for number, corpus in kinds]
    expected: list[Sentence] = []
    # All of these can be joined to any other.
    for corpus in ("one", "two"):
        own = [sentence for sentence in sentences if sentence.corpus == corpus]
        for place in range(0, len(own) - 1, 2):
            both = joined(own[place], own[place + 1])
            assert both is not None
            expected.append(both)
        expected += own[len(own) - len(own) % 2 :]
    result = join_in_twos(sentences)
    assert Counter(each.text for each in result) == Counter(each.text for each in expected)
    assert Counter(each.corpus for each in result) == Counter(each.corpus for each in expected)


def test_a_sentence_that_cannot_be_joined_stays_and_the_next_may_find_another() -> None:
    sentences = [plain_sentence(text) for text in ("她走。", "The bears sleep", "in Oslo.")]
    assert [each.text for each in join_in_twos(sentences)] == ["她走。", "The bears sleep in Oslo."]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("augment.lower=1.5", "augment.lower"),
        ("augment.typo=0.1", "did you mean typos"),
        ("augment={lower=0.6,title=0.6}", "must not exceed 1 together"),
    ],
)
def test_shares_that_make_no_sense_are_refused(
    tiny_data: Path, override: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(tiny_data / "tiny.toml", [override])


NOISY = {"lower": 0.2, "upper": 0.1, "title": 0.1, "unpunctuated": 0.3, "typos": 0.3, "joined": 0.3}


@pytest.fixture(scope="module")
def make_trainer(
    tiny_data: Path, tiny_recipe: Recipe, tiny_run: Path
) -> Callable[[AugmentConfig | None], Trainer]:
    corpora = load_corpora(tiny_recipe, tiny_data)
    config = tiny_recipe.training.model_copy(update={"epochs": 2, "evaluations_per_epoch": 2.0})

    def make(augmentation: AugmentConfig | None) -> Trainer:
        seed_torch(1)
        network, features, tag_set = load_checkpoint(tiny_run / "best.checkpoint").build()
        return Trainer(
            network,
            features,
            tag_set,
            corpora,
            config,
            seed=1,
            device=torch.device("cpu"),
            augmentation=augmentation,
        )

    return make


def losses(rows: Any) -> list[float]:
    return [row["loss"] for row in rows]


def test_a_run_with_noise_that_is_put_back_goes_on_as_if_nothing_had_happened(
    make_trainer: Callable[[AugmentConfig | None], Trainer],
) -> None:
    config = AugmentConfig.model_validate(NOISY)
    whole = losses(make_trainer(config).run())
    stopped = make_trainer(config)
    rows = losses(islice(stopped.run(), 9))
    stream = io.BytesIO()
    torch.save((stopped.averaged.state_dict(), stopped.state()), stream)
    stream.seek(0)
    resumed = make_trainer(config)
    resumed.restore(*torch.load(stream, weights_only=True))
    assert rows + losses(resumed.run()) == whole


def test_a_recipe_without_shares_trains_as_it_did_and_one_with_shares_does_not(
    make_trainer: Callable[[AugmentConfig | None], Trainer],
) -> None:
    plain = losses(islice(make_trainer(None).run(), 4))
    assert losses(islice(make_trainer(AugmentConfig()).run(), 4)) == plain
    assert losses(islice(make_trainer(AugmentConfig.model_validate(NOISY)).run(), 4)) != plain


def test_a_model_trained_in_lower_case_finds_names_in_lower_case(
    tiny_data: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(tiny_data / "tiny.toml", ["augment.lower=0.5", "training.epochs=8"])
    train(recipe, tiny_data, tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run" / "best.checkpoint")
    network, features, tag_set = checkpoint.build()
    (tagged,) = Tagger(network, features, tag_set).tag(
        [["anna", "berg", "went", "to", "oslo", "."]]
    )
    assert tagged.spans == [Span(0, 2, "PER"), Span(4, 5, "LOC")]


@settings(max_examples=10)
@given(st.integers(0, 100))
def test_the_draws_of_the_dropout_do_not_depend_on_a_share_that_is_nought(seed: int) -> None:
    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    augment(batch(3), AugmentConfig(), one)
    assert one.random() == other.random()
