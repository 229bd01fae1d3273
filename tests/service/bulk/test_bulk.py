import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.model.text.documents import Entity
from teddy.model.text.words import Text
from teddy.service.bulk import stream
from teddy.service.bulk.inputs import Options, guess_format, single_input
from teddy.service.bulk.job import BulkJob, identity_of, run_job
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.records import Format, Selection
from teddy.service.bulk.state import JobState
from teddy.service.bulk.stream import arriving_lines, tag_stream
from teddy.service.bulk.workers import Alone, LoadedModel

EVERYTHING = Selection()


class CapitalsTagger:
    """Takes capitalised words for people; counts texts, and raises at a given one as if killed."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.n_texts = 0
        self._dies_at = dies_at

    def tag(self, texts: Iterable[Text], **_: object) -> list[list[Entity]]:
        return [list(self._entities(text)) for text in map(str, texts)]

    def _entities(self, text: str) -> Iterator[Entity]:
        if self.n_texts == self._dies_at:
            raise KeyboardInterrupt
        self.n_texts += 1
        for found in re.finditer(r"\b[A-Z]\w*", text):
            yield Entity(found.start(), found.end(), "PER", 0.5, found[0])

    def tag_sentences(self, sentences: Sequence[Sequence[str]], **_: object) -> list[list[Span]]:
        return [
            [Span(i, i + 1, "PER") for i, word in enumerate(words) if word.istitle()]
            for words in sentences
        ]


def tag_file(directory: Path, tagger: CapitalsTagger, shard_bytes: int = 100) -> Progress:
    """Tag in.txt into out.jsonl with this process; the state of the job is in `state`."""
    model = LoadedModel(name="capitals", version="1", labels=("PER",), precision="fp32")
    source = single_input(directory / "in.txt", directory / "out.jsonl")
    options = Options(selection=EVERYTHING, shard_bytes=shard_bytes)
    job = BulkJob(inputs=[source], options=options, with_errors=False)
    with JobState(directory / "state").held() as state:
        state.begin(identity_of(job, model), restart=False)
        summary = run_job(job, state, Alone(tagger))
        state.remove()
    return summary.total


def people(n_lines: int) -> bytes:
    return "".join(
        f"line {number} is by Ada{number}\n" for number in range(1, n_lines + 1)
    ).encode()


def in_one_go(content: bytes, form: Format = Format.TEXT) -> bytes:
    output = io.BytesIO()
    for _ in tag_stream(io.BytesIO(content), form, CapitalsTagger(), EVERYTHING, output.write):
        pass
    return output.getvalue()


def test_lines_are_answered_in_order_and_counted(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(people(700) + b"\xff\n")
    done = tag_file(tmp_path, CapitalsTagger())
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [each["line"] for each in answers] == list(range(1, 702))
    assert answers[699]["entities"][0]["text"] == "Ada700"
    assert (done.lines, done.entities, done.errors) == (701, 700, 1)
    assert done.first_error.startswith("line 701: not UTF-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.jsonl"]


def test_an_empty_file_gives_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "in.txt").touch()
    assert tag_file(tmp_path, CapitalsTagger()) == Progress()
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@settings(max_examples=40, deadline=None)
@given(dies_at=st.lists(st.integers(0, 40), max_size=3), garbage=st.binary(max_size=30))
def test_a_run_stopped_anywhere_goes_on_to_the_same_file(
    dies_at: list[int], garbage: bytes
) -> None:
    """Also when its last writes were torn."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "in.txt").write_bytes(people(37))
        for place in dies_at:
            with contextlib.suppress(KeyboardInterrupt):
                tag_file(directory, CapitalsTagger(place % 20))
            for path in [*directory.glob("state/*/*.tally")][:1]:
                path.write_bytes(garbage)
        done = tag_file(directory, CapitalsTagger())
        assert (directory / "out.jsonl").read_bytes() == in_one_go(people(37))
        assert (done.lines, done.entities) == (37, 37)
        assert sorted(path.name for path in directory.iterdir()) == ["in.txt", "out.jsonl"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from tests.service.bulk.test_bulk import CapitalsTagger, tag_file

    class Killed(CapitalsTagger):
        n_batches = 0
        def tag(self, texts):
            if self.n_batches == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            self.n_batches += 1
            return super().tag(texts)

    tag_file(Path(sys.argv[1]), Killed())
"""


def test_a_process_that_is_killed_again_and_again_ends_with_the_same_file(tmp_path: Path) -> None:
    content = people(32)
    (tmp_path / "in.txt").write_bytes(content)
    codes: list[int] = []
    while not (tmp_path / "out.jsonl").exists() and len(codes) < 9:
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), "3"]
        codes.append(subprocess.run(command, cwd=Path(__file__).parents[3], check=False).returncode)
    # seven shards, three to a life
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert (tmp_path / "out.jsonl").read_bytes() == in_one_go(content)


def test_no_more_than_a_batch_is_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH_RECORDS", 8)
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"Ada\n"

    progress = tag_stream(endless(), Format.TEXT, CapitalsTagger(), EVERYTHING, bytearray().extend)
    for batch in range(1, 50):
        assert next(progress).lines == read == 8 * batch


def test_long_lines_make_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH_BYTES", 100)
    lines = [b"x" * 60 + b"\n"] * 5
    steps = tag_stream(lines, Format.TEXT, CapitalsTagger(), EVERYTHING, bytearray().extend)
    assert [step.lines for step in steps] == [2, 4, 5]


def test_columns_are_read_sentence_by_sentence() -> None:
    content = b"-DOCSTART- -X-\n\nAda x\nsaid y\n\n\n# note\nBob x"
    expected = b"-DOCSTART- -X- O\n\nAda x B-PER\nsaid y O\n\n\n# note\nBob x B-PER"
    assert in_one_go(content, Format.CONLL) == expected


@given(st.lists(st.binary(max_size=8)), st.integers(1, 5))
def test_lines_of_a_pipe_are_the_lines_of_a_file(pieces: list[bytes], size: int) -> None:
    class Pipe(io.BytesIO):
        def read1(self, _: int | None = -1, /) -> bytes:
            return super().read1(size)

    content = b"\n".join(pieces)
    arrived = [line for line in arriving_lines(Pipe(content)) if line != stream.NOTHING_MORE_YET]
    assert arrived == list(io.BytesIO(content))


def test_a_pipe_is_answered_before_it_ends() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as sender:
        answers: list[bytes] = []
        steps = tag_stream(
            arriving_lines(stream), Format.TEXT, CapitalsTagger(), EVERYTHING, answers.append
        )
        for number in range(1, 4):
            sender.write(b"Ada\nBob\n")
            assert next(steps).lines == 2 * number
        sender.write(b"Eve")
        sender.close()
        assert [step.lines for step in steps] == [7]
        assert b'"Eve"' in answers[-1]


def test_the_output_may_not_be_the_input(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("precious\n")
    with pytest.raises(DataError, match=r"in\.txt: is the input as well"):
        single_input(tmp_path / "in.txt", tmp_path / "." / "in.txt")
    assert (tmp_path / "in.txt").read_text() == "precious\n"


@pytest.mark.parametrize(
    ("name", "form"), [("a.txt", "text"), ("b.JSONL", "jsonl"), ("c.conll", "conll")]
)
def test_the_ending_of_a_name_tells_the_format(name: str, form: str) -> None:
    assert guess_format(Path(name)) == form


def test_an_unknown_ending_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"letters\.docx: its ending is none of \.txt.*--format"):
        guess_format(Path("letters.docx"))
