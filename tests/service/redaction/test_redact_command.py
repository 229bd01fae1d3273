"""The commands `teddy redact` and `teddy restore`, with a model that takes capitals for names."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from teddy.model.text.documents import Entity

Shell = Callable[..., tuple[int, str, str]]
KEY = "s3cr3t-of-redaction-" * 2


class Capitals:
    class Manifest:
        labels = ("PER", "LOC")

    manifest = Manifest()

    def tag(self, texts: Iterable[str], *, threshold: object = None) -> list[list[Entity]]:
        is_low = isinstance(threshold, dict) and threshold.get("PER", 0.5) < 0.1
        found = r"\w+" if is_low else r"[A-Z]\w*"
        return [
            [Entity(*each.span(), "PER", 0.9, each[0]) for each in re.finditer(found, text)]
            for text in texts
        ]


@pytest.fixture(autouse=True)
def _capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teddy.model.predictor.load", lambda *_, **__: Capitals())
    monkeypatch.delenv("TEDDY_REDACT_KEY", raising=False)


def test_a_text_is_printed_without_its_names(shell: Shell) -> None:
    assert shell("redact", "so Ada met Bob") == (0, "so <PER_1> met <PER_2>\n", "")
    masked = shell("redact", "so Ada", "--operator", "PER=mask:X:1")
    assert masked[1] == "so XXa\n"
    assert shell("redact", "so Ada", "--threshold", "PER=0.05")[1] == "<PER_1> <PER_2>\n"


def test_files_go_by_their_endings_and_come_back_with_the_key(shell: Shell, tmp_path: Path) -> None:
    contents = {
        "a.txt": "Ada met\r\nBob\n",
        "b.json": '{"Key": "Ada"}\n',
        "c.jsonl": '{"x": "Ada\u2028Bob"}\n\n["Bob"]',
        "d.csv": "Name,x\nAda,1\n",
        "e.html": "<P>Ada</P>\n",
        "f.md": "* Ada\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content.encode())
    (tmp_path / "key").write_text(KEY)
    files = [part for name in contents for part in ("--input", tmp_path / name)]
    out, back = tmp_path / "out", tmp_path / "back"
    options = ("--operator", "*=encrypt", "--key-file", tmp_path / "key", "--output", out)
    assert shell("redact", *files, *options) == (0, "", "")
    for name in contents:
        assert "Ada" not in (out / name).read_text()
    assert json.loads((out / "b.json").read_text()).keys() == {"Key"}
    files = [part for name in contents for part in ("--input", out / name)]
    restored = shell("restore", *files, "--key-file", tmp_path / "key", "--output", back)
    assert restored == (0, "", "")
    assert {name: (back / name).read_bytes().decode() for name in contents} == contents
    (tmp_path / "key").write_text("another key " * 4)
    code, _, told = shell("restore", "--input", out / "a.txt", "--key-file", tmp_path / "key")
    assert (code, told) == (1, "teddy: 2 are not of this key, or were changed\n")


def test_thresholds_come_from_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"PER": 0.05, "OTHER": 0.3}')
    assert shell("redact", "so Ada", "--thresholds", tmp_path / "t.json")[1] == "<PER_1> <PER_2>\n"
    (tmp_path / "t.json").write_text('{"PER": 2}')
    code, _, told = shell("redact", "so", "--thresholds", tmp_path / "t.json")
    assert (code, "numbers from 0.0001 to 1" in told) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("redact",), "give either a text or --input"),
        (("redact", "Ada", "--operator", "PER"), "LABEL=OPERATOR"),
        (("redact", "Ada", "--operator", "PER=shred"), "an operator is one of"),
        (("redact", "Ada", "--operator", "PER=hash"), "hash needs a key"),
        (("redact", "Ada", "--threshold", "7"), "a threshold must be"),
        (("redact", "Ada", "--format", "json"), "The text is not JSON."),
        (("restore", "Ada"), "give a key"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    shell: Shell, arguments: tuple[str, ...], reason: str
) -> None:
    code, _, told = shell(*arguments)
    assert (code, told.count("\n")) == (2, 1)
    assert reason in told
