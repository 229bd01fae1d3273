import json
from collections.abc import Callable
from pathlib import Path

import pytest

Shell = Callable[..., tuple[int, str, str]]


def write_columns(path: Path, n_bad: int) -> Path:
    path.write_text("Ada B-PER\nspoke O\n\n" + "Bo I-PER\nleft O\n\n" * n_bad, encoding="utf-8")
    return path


def test_a_recipe_is_checked(shell: Shell, tiny_data: Path) -> None:
    code, output, told = shell("check", "--json", tiny_data / "tiny.toml", "--data", tiny_data)
    assert (code, told) == (0, "")
    assert [(part["part"], part["sentences"]) for part in json.loads(output)["parts"]] == [
        ("train", 200),
        ("dev", 40),
    ]


def test_a_file_is_checked_with_the_labels_that_it_has(shell: Shell, tmp_path: Path) -> None:
    code, output, _ = shell("check", write_columns(tmp_path / "a.conll", 1), "--scheme", "bio")
    assert code == 0
    assert "Illegal tag sequences" in output
    assert "\x1b" not in output


def test_what_cannot_be_read_is_a_finding_and_makes_the_exit_code_1(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "a.conll").write_text("Ada B-PER\n\nspoke\n")
    code, output, _ = shell("check", tmp_path / "a.conll")
    assert code == 1
    assert "a.conll:3: " in output


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"\x80abc O\n"], ids=["empty", "binary", "latin-1"]
)
def test_a_file_of_which_nothing_can_be_read_is_a_finding_too(
    shell: Shell, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.conll").write_bytes(content)
    code, output, _ = shell("check", tmp_path / "a.conll", "--json")
    assert code == 1
    assert json.loads(output)["counts"] == {"unreadable": 1}


def test_a_file_that_is_not_there_is_wrong_usage(shell: Shell, tmp_path: Path) -> None:
    code, output, told = shell("check", tmp_path / "a.conll")
    assert (code, output) == (2, "")
    assert told == f"teddy: error: {tmp_path / 'a.conll'}: no such file\n"


def test_a_recipe_that_is_none_is_wrong_usage(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "a"\nlabels = 3')
    code, _, told = shell("check", tmp_path / "a.toml")
    assert code == 2
    assert told.count("\n") == 1


def test_what_would_command_a_terminal_is_not_passed_on(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Ada I-\x1b[2JPER\nMos\x1b[31mкow O\n", encoding="utf-8")
    code, output, _ = shell("check", tmp_path / "a.conll", "--scheme", "bio")
    assert code == 0
    assert "[2JPER" in output
    assert "\x1b" not in output


def test_so_many_findings_of_a_kind_are_shown_as_asked_for(shell: Shell, tmp_path: Path) -> None:
    file = write_columns(tmp_path / "a.conll", 30)
    shown = {
        options: shell("check", file, "--scheme", "bio", *options)[1].count("tag I-PER is read")
        for options in ((), ("--show", "3"), ("--all",))
    }
    assert shown == {(): 10, ("--show", "3"): 3, ("--all",): 30}
