"""What rules do on annotated data, counted on sentences that can be counted by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Shell = Callable[..., tuple[int, str, str]]


def test_evaluate_says_which_rule_helped_and_which_hurt(
    shell: Shell, tiny_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("re2")
    sentences = [
        "Anna B-PER|Berg I-PER|went O|to O|Oslo B-LOC|. O",
        "Mira B-PER|and O|Jonas B-PER|Falk I-PER|like O|apples O|. O",
    ]
    lines = "\n\n".join(each.replace("|", "\n") for each in sentences)
    (tmp_path / "dev.conll").write_text(f"{lines}\n")
    (tmp_path / "rules.toml").write_text(
        """
        [[dictionary]]
        name = "fruit"
        entries = ["apples"]
        label = "LOC"
        [[never]]
        name = "no-oslo"
        entries = ["Oslo"]
        [[pattern]]
        name = "nothing"
        pattern = 'zzz'
        label = "PER"
        """
    )
    code, out, _ = shell(
        "evaluate",
        tiny_model,
        tmp_path / "dev.conll",
        "--rules",
        tmp_path / "rules.toml",
        "--json",
    )
    assert code == 0
    found = json.loads(out)
    assert {name: (e["helped"], e["hurt"]) for name, e in found["rules"].items()} == {
        "fruit": (0, 1),
        "no-oslo": (0, 1),
        "nothing": (0, 0),
    }
    micro = found["strict"]["micro"]
    assert (micro["gold"], micro["correct"]) == (4, 3)
