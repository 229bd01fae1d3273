import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from teddy import cli
from teddy.model import predictor
from teddy.model.errors import DataError, TextError
from teddy.model.file.bundle import extra_files, read_bundle, seal
from teddy.model.network.torchscript import from_archive, to_archive
from teddy.model.tags.spans import Span
from teddy.model.text.documents import Entity

ROOT = Path(__file__).parents[1]


@dataclass
class FakeManifest:
    name: str = "fake"
    labels: tuple[str, ...] = ("PER", "ORG")


class FakePredictor:
    """Takes each capitalised word for a person, and each one in capitals for an organisation."""

    manifest = FakeManifest()
    version = "0123456789ab"
    precision = "fp32"
    sentences = "document"
    labels = manifest.labels
    rules = None

    def tag(self, texts: Iterable[str], **_: object) -> list[list[Entity]]:
        return [
            [self._entity(found) for found in re.finditer(r"\b[A-Z]\w*(\s[A-Z]\w*)?", text)]
            for text in texts
        ]

    def _entity(self, found: re.Match[str]) -> Entity:
        if found[0] == "BAD":
            raise TextError("character 3 is a lone surrogate")
        return Entity(
            found.start(), found.end(), "ORG" if found[0].isupper() else "PER", 0.98765, found[0]
        )

    def tag_sentences(self, sentences: Sequence[Sequence[str]], **_: object) -> list[list[Span]]:
        return [
            [Span(i, i + 1, "PER") for i, word in enumerate(words) if word[0].isupper()]
            for words in sentences
        ]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Put a fake in the place of every model; gives the model files, precisions and ways to find
    sentences that were asked for."""
    asked: list[tuple[object, ...]] = []

    def load(
        path: object = None,
        *,
        precision: str = "auto",
        sentences: str | None = None,
        rules: object = None,
    ) -> FakePredictor:
        assert rules is None
        asked.append((path, precision, sentences))
        return FakePredictor()

    monkeypatch.setattr(predictor, "load", load)
    return asked


Shell = Callable[..., tuple[int, str, str]]


class TestTag:
    pytestmark = pytest.mark.usefixtures("fake")

    def test_entities_are_lines_of_fields_with_tabs_between_them(self, shell: Shell) -> None:
        assert shell("tag", "so Ada met IBM") == (
            0,
            "3\t6\tPER\t0.988\tAda\n11\t14\tORG\t0.988\tIBM\n",
            "",
        )

    def test_an_entity_is_one_line_even_when_its_text_is_two(self, shell: Shell) -> None:
        assert shell("tag", "Ada\nByron")[1] == "0\t9\tPER\t0.988\tAda\\nByron\n"

    def test_json_is_what_the_service_answers(self, shell: Shell) -> None:
        code, output, _ = shell("tag", "--json", "so Ada")
        entity = {"start": 3, "end": 6, "label": "PER", "score": 0.9877, "text": "Ada"}
        assert json.loads(output) == {
            "model": {"name": "fake", "version": "0123456789ab"},
            "entities": [entity],
        }
        assert code == 0

    def test_labels_and_score_choose_entities(self, shell: Shell) -> None:
        assert shell("tag", "--labels", "ORG", "so Ada met IBM")[1].count("\n") == 1
        assert shell("tag", "--min-score", "0.99", "so Ada met IBM") == (0, "", "")

    def test_an_empty_text_has_no_entities(self, shell: Shell) -> None:
        assert shell("tag", "") == (0, "", "")

    def test_model_precision_and_sentences_are_passed_on(
        self, shell: Shell, fake: list[tuple[object, ...]]
    ) -> None:
        shell("tag", "x", "--model", "m.teddy", "--precision", "int8", "--sentences", "lines")
        shell("tag", "x")
        assert fake == [(Path("m.teddy"), "int8", "lines"), (None, "auto", None)]

    def test_on_a_terminal_the_text_is_shown_with_labels(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        shown = shell("tag", "so Ada met IBM [b] today")[1]
        assert re.sub(r"\x1b\[[\d;]*m", "", shown) == "so Ada PER  met IBM ORG  [b] today\n"

    def test_a_file_is_tagged_into_a_file(self, shell: Shell, tmp_path: Path) -> None:
        (tmp_path / "in.txt").write_text("so Ada\nnobody\n")
        code, output, told = shell(
            "tag", "--input", tmp_path / "in.txt", "--output", tmp_path / "out.jsonl"
        )
        assert (code, output, told) == (0, "", "teddy: 2 lines, 1 entity, 0 not tagged\n")
        lines = (tmp_path / "out.jsonl").read_text().splitlines()
        assert [json.loads(line)["line"] for line in lines] == [1, 2]

    def test_a_file_is_tagged_to_standard_output(self, shell: Shell, tmp_path: Path) -> None:
        (tmp_path / "in.conll").write_text("Ada\nspoke\n\n")
        assert shell("tag", "--input", tmp_path / "in.conll") == (0, "Ada B-PER\nspoke O\n\n", "")

    def test_records_that_cannot_be_tagged_are_told_and_the_exit_code_is_1(
        self, shell: Shell, tmp_path: Path
    ) -> None:
        (tmp_path / "in.jsonl").write_text('{"text": "Ada"}\n[]\n{"text": "Bob"}\n')
        code, output, told = shell("tag", "--input", tmp_path / "in.jsonl")
        assert code == 1
        assert [*map(json.loads, output.splitlines())][1] == {
            "line": 2,
            "error": "not a JSON object",
        }
        assert told.splitlines() == [
            "teddy: 3 lines, 2 entities, 1 not tagged",
            "teddy: first of those not tagged: line 2: not a JSON object",
        ]

    def test_a_device_is_written_to_and_not_replaced(self, shell: Shell, tmp_path: Path) -> None:
        (tmp_path / "in.txt").write_text("Ada\n")
        assert shell("tag", "--input", tmp_path / "in.txt", "--output", "/dev/null") == (0, "", "")
        assert Path("/dev/null").is_char_device()

    def test_the_precision_of_a_killed_run_is_kept(
        self, shell: Shell, tmp_path: Path, fake: list[tuple[object, ...]]
    ) -> None:
        (tmp_path / "in.txt").write_text("Ada\n")
        (tmp_path / ".out.jsonl.teddy").mkdir()
        (tmp_path / ".out.jsonl.teddy" / "job.json").write_text('{"precision": "bf16"}\n')
        command = ["tag", "--input", tmp_path / "in.txt", "--output", tmp_path / "out.jsonl"]
        assert "--restart starts over" in shell(*command)[2]
        assert shell(*command, "--restart")[0] == 0
        assert fake == [(None, "bf16", None), (None, "auto", None)]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["tag"], "TEXT: give either a text or --input"),
            (["tag", "x", "--input", "-"], "TEXT: give either a text or --input"),
            (["tag", "x", "--output", "y"], "--output: goes with --input"),
            (["tag", "x", "--format", "text"], "--format: says what --input is"),
            (["tag", "--input", "-", "--json"], "--json: goes with TEXT"),
            (
                ["tag", "--input", "a.conll", "--min-score", "0.5"],
                "--min-score: columns have no scores",
            ),
            (["tag", "x", "--labels", "PER,LOC"], "--labels: the model has PER, ORG, not LOC"),
            (["tag", "x", "--precision", "fp8"], "--precision"),
            (["tag", "x", "--min-score", "1.5"], "--min-score"),
            (["tag", "--input", "a.docx"], "a.docx: its ending is none of"),
            (["tag", "--input", "nowhere.txt"], "nowhere.txt: No such file or directory"),
            (["tag", "BAD"], "character 3 is a lone surrogate"),
        ],
    )
    def test_what_cannot_be_done_is_refused_in_one_line(
        self, shell: Shell, arguments: list[str], message: str
    ) -> None:
        code, output, told = shell(*arguments)
        assert (code, output) == (2, "")
        assert told.startswith("teddy: error: ")
        assert message in told
        assert told.count("\n") == 1

    def test_an_input_that_is_missing_leaves_no_output(self, shell: Shell, tmp_path: Path) -> None:
        shell("tag", "--input", tmp_path / "nowhere.txt", "--output", tmp_path / "out.jsonl")
        assert [*tmp_path.iterdir()] == []


class TestInspect:
    def test_it_says_what_the_model_is(self, shell: Shell, tiny_model: Path) -> None:
        code, output, _ = shell("inspect", tiny_model)
        assert code == 0
        for fact in ("tiny", "PER, LOC", "2 x lstm of 12", "made-up: 200 sentences", "CC0", "f1"):
            assert fact in output

    def test_a_model_that_ships_is_asked_for_by_its_name(self, shell: Shell) -> None:
        code, output, _ = shell("inspect", "--json", "de")
        assert (code, json.loads(output)["name"]) == (0, "de")

    def test_its_card_is_printed_as_it_lies_in_the_file(
        self, shell: Shell, tiny_model: Path
    ) -> None:
        code, output, _ = shell("inspect", "--card", tiny_model)
        assert (code, output) == (0, read_bundle(tiny_model).card)
        assert output.startswith("# tiny\n")

    def test_a_model_without_a_card_is_told_in_one_line(
        self, shell: Shell, tiny_model: Path, tmp_path: Path
    ) -> None:
        bundle = read_bundle(tiny_model)
        extras = extra_files(bundle.manifest, bundle.pieces, bundle.words)
        (tmp_path / "older.teddy").write_bytes(
            seal(to_archive(from_archive(bundle.archive), extras))
        )
        code, output, told = shell("inspect", "--card", tmp_path / "older.teddy")
        assert (code, output, told.count("\n")) == (2, "", 1)
        assert "older.teddy: it has no model card" in told

    def test_a_card_is_not_json(self, shell: Shell, tiny_model: Path) -> None:
        assert shell("inspect", "--card", "--json", tiny_model)[0] == 2

    def test_what_is_no_model_is_refused(self, shell: Shell, tiny_data: Path) -> None:
        code, output, told = shell("inspect", tiny_data / "dev.conll")
        assert (code, output) == (2, "")
        assert "not a Teddy model file" in told


class TestTagWithARealModel:
    def test_a_real_model_finds_the_names_in_text_lines_objects_and_columns(
        self, shell: Shell, tiny_model: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "in.txt").write_text("Otto Lind went to Oslo .\n\n")
        (tmp_path / "in.jsonl").write_text('{"id": 1, "text": "Otto Lind went to Oslo ."}\n')
        (tmp_path / "in.conll").write_text("Otto\nLind\nwent\nto\nOslo\n.\n\n")
        found = [
            shell("tag", "--model", tiny_model, "--input", tmp_path / f"in.{end}")
            for end in ("txt", "jsonl", "conll")
        ]
        assert [code for code, _, _ in found] == [0, 0, 0]
        for _, output, _ in found[:2]:
            entities = json.loads(output.splitlines()[0])["entities"]
            assert [(one["start"], one["end"], one["label"]) for one in entities] == [
                (0, 9, "PER"),
                (18, 22, "LOC"),
            ]
        assert [line.split()[1] for line in found[2][1].split("\n")[:6]] == [
            "B-PER",
            "I-PER",
            "O",
            "O",
            "B-LOC",
            "O",
        ]


class TestErrors:
    def test_every_help_has_examples(self, shell: Shell) -> None:
        for command in cli.COMMANDS:
            code, output, _ = shell(command.__name__, "--help")
            assert code == 0
            assert f"  teddy {command.__name__}" in output.partition("Examples:\n")[2]

    def test_without_arguments_the_help_is_printed(self, shell: Shell) -> None:
        assert shell() == shell("--help")

    def test_the_version_is_printed(self, shell: Shell) -> None:
        assert re.fullmatch(r"teddy \d+\.\d+\.\d+\n", shell("--version")[1])

    @pytest.mark.parametrize(
        "arguments", [["tug"], ["train"], ["tag", "--colour"], ["inspect"], ["--bogus"]]
    )
    def test_wrong_usage_is_one_line_and_2(self, shell: Shell, arguments: list[str]) -> None:
        code, output, told = shell(*arguments)
        assert (code, output, told.count("\n")) == (2, "", 1)
        assert told.startswith("teddy: error: ")

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (DataError("a.conll", 7, "a line without a tag"), 2),
            (PermissionError(errno.EACCES, "Permission denied", "a.conll"), 2),
            (OSError(errno.ENOSPC, "No space left on device"), 2),
            (KeyboardInterrupt(), 130),
        ],
    )
    def test_what_a_person_or_their_machine_caused_has_no_traceback(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
    ) -> None:
        def load(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(predictor, "load", load)
        returned, output, told = shell("tag", "x")
        assert (returned, output) == (code, "")
        assert "Traceback" not in told
        assert told.count("\n") == (1 if code == 2 else 0)

    @pytest.mark.parametrize("arguments", [("tag", "x", "--precision", "foo"), ("lab", "foo")])
    def test_a_choice_that_there_is_not_is_refused_with_those_that_there_are(
        self, shell: Shell, arguments: tuple[str, ...]
    ) -> None:
        code, output, told = shell(*arguments)
        assert (code, output) == (2, "")
        assert re.fullmatch(r"teddy: error: Invalid value for \S+: 'foo' is not one of .*\n", told)

    @pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EINVAL, "a bug")])
    def test_a_mistake_in_teddy_is_not_hidden(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def load(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(predictor, "load", load)
        with pytest.raises(type(error), match="a bug"):
            shell("tag", "x")


PIPED = """
    import re, sys
    from teddy import cli
    from teddy.model import predictor
    sys.path.insert(0, {tests!r})
    from test_commands import FakePredictor
    predictor.load = lambda path, precision, sentences, rules: FakePredictor()
    cli.main()
"""


class TestStandardStreams:
    """As another process sees them."""

    @staticmethod
    def command(*arguments: str) -> list[str]:
        code = "\n".join(
            line.strip() for line in PIPED.format(tests=str(Path(__file__).parent)).splitlines()
        )
        return [sys.executable, "-c", code, *arguments]

    def test_standard_input_is_tagged_to_standard_output(self) -> None:
        command = self.command("tag", "--input", "-", "--format", "jsonl")
        done = subprocess.run(
            command, cwd=ROOT, input=b'{"text": "Ada"}\n', capture_output=True, check=True
        )
        assert json.loads(done.stdout)["entities"][0]["text"] == "Ada"
        assert done.stderr == b""

    def test_a_reader_that_leaves_ends_the_command_quietly(self) -> None:
        command = self.command("tag", "--input", "-")
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            process.stdout.close()
            process.stdin.write(b"Ada\n" * 1000)
            process.stdin.close()
            assert process.stderr.read() == b""
        assert process.returncode == 1
