"""Text from a language model: drawn by its probabilities, from the prompt on."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from teddy.model.errors import ModelFileError, TrainingError
from teddy.training.pretrain.objectives import read_one_way
from teddy.training.pretrain.run import pretrain
from teddy.training.pretrain.sample import LanguageModel, as_text, load_language_model
from teddy.training.recipe.recipe import load_recipe

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def causal_run(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("causal")
    overrides = ["pretrain.objective=causal", "pretrain.words=40000"]
    pretrain(
        load_recipe(text_data / "tiny-encoder.toml", overrides, purpose="pretrain"),
        text_data,
        output,
    )
    return output


@pytest.fixture(scope="module")
def language_model(causal_run: Path) -> LanguageModel:
    return load_language_model(causal_run)


@pytest.mark.parametrize("backwards", [False, True])
def test_words_are_drawn_as_often_as_they_are_probable(
    language_model: LanguageModel, backwards: bool
) -> None:
    prompt, n_draws, temperature = ["the", "young"], 1500, 0.7
    drawn = Counter(
        language_model.sample(prompt, 1, temperature=temperature, seed=seed, backwards=backwards)[
            0 if backwards else 2
        ]
        for seed in range(n_draws)
    )
    read = prompt[::-1] if backwards else prompt
    with torch.inference_mode():
        states = read_one_way(
            language_model.network.encoder, language_model.vectors(read)[None], backwards=backwards
        )
        guess = language_model.objective.previous if backwards else language_model.objective.next
        scores = (
            language_model.vectors(language_model.words) @ guess(states[0, -1:])[0] * (2 / 16**0.5)
        )
        probabilities = functional.softmax((scores + language_model.log_prior) / temperature, dim=0)
    for word, probability in zip(language_model.words, probabilities.tolist(), strict=True):
        assert drawn[word] / n_draws == pytest.approx(probability, abs=0.05)


def test_a_sample_goes_on_from_its_prompt_and_is_the_same_for_the_same_seed(
    language_model: LanguageModel,
) -> None:
    for backwards in (False, True):
        samples = [
            language_model.sample(
                ["the", "fox"], 9, temperature=1.0, seed=seed, backwards=backwards
            )
            for seed in (1, 1, 2, 3)
        ]
        assert samples[0] == samples[1]
        assert len({tuple(each) for each in samples}) > 1
        for words in samples:
            assert (words[-2:] if backwards else words[:2]) == ["the", "fox"]
            assert set(words) <= {*language_model.words, "the", "fox"}
            assert len(words) <= 11


def test_a_forward_sample_ends_with_its_sentence(language_model: LanguageModel) -> None:
    for seed in range(10):
        words = language_model.sample(["The"], 60, temperature=0.8, seed=seed)
        ends = [place for place, word in enumerate(words) if word in (".", "!", "?")]
        assert ends in ([], [len(words) - 1])


def test_a_cold_model_says_what_it_has_learnt(language_model: LanguageModel) -> None:
    words = language_model.sample(["The", "otter", "sleeps"], 2, temperature=0.05, seed=1)
    assert words == ["The", "otter", "sleeps", "near", "the"]
    words = language_model.sample(
        ["all", "day", "long", "."], 2, temperature=0.05, seed=1, backwards=True
    )
    assert words[-4:] == ["all", "day", "long", "."]


def test_the_command_prints_a_text(causal_run: Path, shell: Shell) -> None:
    code, out, err = shell("sample", causal_run, "--prompt", "The young bear", "--words", "12")
    assert code == 0, err
    assert out.startswith("The young bear")
    assert out.count("\n") == 1
    code, out, err = shell("sample", causal_run, "--prompt", "day long.", "--backward")
    assert code == 0, err
    assert out.endswith("day long.\n")
    code, out, err = shell("sample", causal_run / "last.checkpoint", "--seed", "4")
    assert code == 0, err
    assert out[0].isalpha()


def test_only_a_causal_run_is_sampled_from(text_data: Path, tmp_path: Path, shell: Shell) -> None:
    recipe = load_recipe(
        text_data / "tiny-encoder.toml", ["pretrain.words=200"], purpose="pretrain"
    )
    encoder_file = pretrain(recipe, text_data, tmp_path / "masked")
    with pytest.raises(TrainingError, match="the objective is 'masked'"):
        load_language_model(tmp_path / "masked")
    with pytest.raises(TrainingError, match="name the directory of its run"):
        load_language_model(encoder_file)
    with pytest.raises(ModelFileError, match="no such checkpoint"):
        load_language_model(tmp_path / "nowhere")
    code, _, err = shell("sample", encoder_file)
    assert code == 2
    assert err.splitlines()[-1].startswith("teddy: error: ")


def test_spaces_stand_where_an_english_text_has_them() -> None:
    words = [
        "It",
        "does",
        "n't",
        "(",
        "as",
        "Ida",
        "'s",
        "bear",
        ")",
        "sleep",
        ",",
        "does",
        "it",
        "?",
    ]
    assert as_text(words) == "It doesn't (as Ida's bear) sleep, does it?"
