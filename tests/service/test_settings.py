from pathlib import Path

import pytest

from teddy.model.file.shipped import shipped_models
from teddy.model.system.processes import available_cores
from teddy.service.errors import SettingsError
from teddy.service.settings import read_settings, unknown_variables


def test_an_option_wins_over_the_environment_which_wins_over_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEDDY_PORT", "9000")
    monkeypatch.setenv("TEDDY_HOST", "127.0.0.2")
    settings = read_settings(port=9001, host=None)
    assert (settings.port, settings.host, settings.workers) == (9001, "127.0.0.2", 1)


def test_models_are_named_files_and_a_file_alone_is_named_by_its_stem() -> None:
    settings = read_settings(models="zh=models/zh-2.teddy, runs/mine.teddy")
    assert list(settings.models.items()) == [
        ("zh", Path("models/zh-2.teddy")),
        ("mine", Path("runs/mine.teddy")),
    ]


def test_a_model_that_ships_is_served_by_its_name_unless_a_file_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = shipped_models()
    assert read_settings(models="de,english=en,x=fr").models == {
        "de": shipped["de"],
        "english": shipped["en"],
        "x": Path("fr"),
    }
    (tmp_path / "de").touch()
    assert read_settings(models="de").models == {"de": Path("de")}


@pytest.mark.parametrize(
    "models", ["=x.teddy", "a=", "a b=x.teddy", "../a=x.teddy", "x" * 65 + "=x.teddy", "a=x,a=y"]
)
def test_a_model_without_a_plain_name_or_with_anothers_is_refused(models: str) -> None:
    with pytest.raises(SettingsError, match="--model: "):
        read_settings(models=models)


def test_a_bad_value_is_refused_by_the_name_of_its_variable_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEDDY_QUEUE_WORDS", "many")
    with pytest.raises(
        SettingsError, match=r"^TEDDY_QUEUE_WORDS: Input should be a valid integer"
    ) as refused:
        read_settings()
    assert "\n" not in str(refused.value)


def test_settings_survive_the_way_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings(
        models="a=x.teddy,b=y.teddy", request_timeout_seconds=1.5, log_level="warning", workers=3
    )
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings() == settings


def test_a_misspelt_variable_is_found() -> None:
    variables = {
        "TEDDY_PROT": "1",
        "TEDDY_PORT": "1",
        "TEDDY_TRAIN_DATA": "corpora",
        "PATH": "/bin",
    }
    assert unknown_variables(variables) == ["TEDDY_PROT"]


@pytest.mark.parametrize("workers", [1, 2, 1000])
def test_workers_times_threads_are_at_most_the_cores_unless_set(workers: int) -> None:
    assert read_settings(workers=workers).torch_threads() == 1
    threads = read_settings(workers=workers, threads=0).torch_threads()
    assert threads == 1 or threads * workers <= available_cores()
    assert read_settings(workers=workers, threads=7).torch_threads() == 7
