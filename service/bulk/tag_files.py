"""`teddy tag --input`: a stream into a stream, a file into a file, or many files into a folder."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from html import escape
from io import BufferedIOBase, BufferedWriter
from pathlib import Path
from typing import Any, cast

import typer

from teddy.model.errors import TeddyError, counted
from teddy.model.predictor import Predictor
from teddy.model.system.files import atomic_path
from teddy.model.system.processes import Interruption, available_cores, interruptions
from teddy.model.text.documents import Entity
from teddy.model.text.marks import PAGE_START, mark
from teddy.model.text.words import Text
from teddy.service.bulk.inputs import (
    SHARD_BYTES,
    Input,
    Options,
    find_inputs,
    open_unpacked,
    packing_of,
    single_input,
)
from teddy.service.bulk.job import BulkJob, Summary, identity_of, run_job
from teddy.service.bulk.progress import Progress, Rate, expected_bytes, rate_of, reported
from teddy.service.bulk.records import TEXT_FIELD, Format
from teddy.service.bulk.request import STANDARD_STREAM, TagRequest
from teddy.service.bulk.state import JobState
from teddy.service.bulk.stream import arriving_lines, tag_stream

STATE_FOLDER = ".teddy"


def tag_files(request: TagRequest) -> None:
    """Tag files, print the outcome, and exit with 1 if something could not be tagged."""
    if request.is_stream:
        _tag_stream(request)
        return
    with interruptions() as interruption:
        if request.is_folder:
            _tag_folder(request, interruption)
        else:
            _tag_file(request, interruption)


def _tag_stream(request: TagRequest) -> None:
    (source,) = request.sources
    form = request.format_of(source)
    if form is Format.PARQUET:
        raise typer.BadParameter("rows are not streamed: name a file", param_hint="--output")
    is_new = request.target.is_file() or not request.target.exists()
    to_file = is_new and request.target != STANDARD_STREAM
    done = Progress()
    with ExitStack() as stack:
        lines = arriving_lines(stack.enter_context(_open_input(source)))
        predictor = request.load()
        selection = request.selection(predictor.labels)
        target = stack.enter_context(
            atomic_path(request.target) if to_file else nullcontext(request.target)
        )
        output = stack.enter_context(_open_output(target))
        field = request.text_field if form is Format.JSONL else TEXT_FIELD
        write: Callable[[bytes], object] = output.write
        if request.html_name is not None:
            output.write(PAGE_START.encode())
            write = partial(_write_marked, output, field)
        for progress in tag_stream(lines, form, predictor, selection, write, text_field=field):
            output.flush()
            done = progress
    _conclude(done, told=to_file)


def write_answers(
    request: TagRequest, write: Callable[[Iterator[dict[str, Any]], Predictor], object]
) -> None:
    """Have `write` take the answers to a stream of texts, and conclude as `tag_files` does.

    It takes those that could be tagged, as objects: each has its text and `entities`.
    """
    (source,) = request.sources
    form, done = request.format_of(source), Progress()
    field = request.text_field if form is Format.JSONL else TEXT_FIELD
    predictor = request.load()
    selection = request.selection(predictor.labels)

    def answers(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
        nonlocal done
        found: list[bytes] = []
        for progress in tag_stream(
            lines, form, predictor, selection, found.append, text_field=field
        ):
            yield from (
                each for each in map(json.loads, found.pop().splitlines()) if "entities" in each
            )
            done = progress

    with _open_input(source) as stream:
        write(answers(arriving_lines(stream)), predictor)
    _conclude(done, told=request.target != STANDARD_STREAM)


def write_page(text: Text, entities: Iterable[Entity], target: Path) -> None:
    """Write a page of one text with its entities marked, or print it where the target is -."""
    to_file = target != STANDARD_STREAM
    with atomic_path(target) if to_file else nullcontext(target) as path, _open_output(path) as out:
        out.write(f"{PAGE_START}{mark(text, entities)}\n".encode())


def _write_marked(output: BufferedWriter, text_field: str, answers: bytes) -> None:
    """Write lines of answers as marked texts; one that was not tagged gives its reason."""
    for line in answers.splitlines():
        answer = json.loads(line)
        if "entities" in answer:
            found = (Entity(**each) for each in answer["entities"])
            output.write(f"{mark(answer[text_field], found)}\n".encode())
        else:
            output.write(f"<p><em>{escape(answer['error'])}</em></p>\n".encode())


def _tag_file(request: TagRequest, interruption: Interruption) -> None:
    (path,) = request.sources
    source = single_input(path, request.target, request.form)
    request.check_scores([source.form])
    path.stat()  # raises when it is not there
    with JobState(source.target.with_name(f".{source.target.name}{STATE_FOLDER}")).held() as state:
        with_errors = source.form is Format.PARQUET  # elsewhere the output has them already
        summary = _tag_shards(request, [source], state, interruption, with_errors=with_errors)
        state.remove()
    if summary.refused:
        raise TeddyError(summary.refused[0])
    if request.as_json:
        _print_summary(summary)
    _conclude(summary.total, told=True)


def _tag_folder(request: TagRequest, interruption: Interruption) -> None:
    inputs = find_inputs(request.sources, request.target, request.form)
    request.check_scores([each.form for each in inputs])
    with JobState(request.target / STATE_FOLDER).held() as state:
        summary = _tag_shards(request, inputs, state, interruption, with_errors=True)
    if request.as_json:
        _print_summary(summary)
    for reason in summary.refused:
        _say(f"left out: {reason}")
    if not summary.n_joined and not summary.refused:
        _say("nothing to do: this job was finished before")
    files = f"{counted(summary.files - len(summary.refused), 'file')}, "
    speed = f"; {summary.seconds:,.1f} s, {_rate(summary).words_per_second:,} words/s"
    _conclude(summary.total, told=True, before=files, after=speed, failed=bool(summary.refused))


def _tag_shards(
    request: TagRequest,
    inputs: Sequence[Input],
    state: JobState,
    interruption: Interruption,
    *,
    with_errors: bool,
) -> Summary:
    before = None if request.restart else state.identity()
    # with `auto`, a model might choose another precision today, and the job could not go on
    precision = str(before["precision"]) if before and request.precision == "auto" else None
    with ExitStack() as stack:
        with interruption.at_once():
            start = request.start(_process_count(request, inputs), precision)
            workers, model = stack.enter_context(start)
        options = Options(selection=request.selection(model.labels), text_field=request.text_field)
        job = BulkJob(inputs=inputs, options=options, with_errors=with_errors)
        state.begin(identity_of(job, model), restart=request.restart)
        show = stack.enter_context(reported(expected_bytes(inputs)))
        return run_job(job, state, workers, show, interruption)


def _process_count(request: TagRequest, inputs: Sequence[Input]) -> int:
    """Return the number of processes asked for, else of cores, but at most of shards."""
    if request.processes is not None:
        return request.processes
    shards = sum(max(1, round(expected_bytes([each]) / SHARD_BYTES)) for each in inputs)
    return min(available_cores(), max(1, shards))


def _open_input(path: Path) -> BufferedIOBase:
    if path == STANDARD_STREAM:
        return open(0, "rb", closefd=False)
    return cast(BufferedIOBase, open_unpacked(path, packing_of(path)))


def _open_output(path: Path) -> BufferedWriter:
    return open(1, "wb", closefd=False) if path == STANDARD_STREAM else path.open("wb")


def _rate(summary: Summary) -> Rate:
    return rate_of(summary.total, summary.done_here, summary.seconds, summary.total.read_bytes)


def _print_summary(summary: Summary) -> None:
    rate = _rate(summary)
    fields = {
        "files": summary.files - len(summary.refused),
        "rows": summary.total.records,
        "words": summary.total.words,
        "entities": summary.total.entities,
        "errors": summary.total.errors,
        "seconds": rate.seconds,
        "words_per_second": rate.words_per_second,
        "left_out": summary.refused,
    }
    print(json.dumps(fields, ensure_ascii=False))


def _conclude(
    done: Progress, *, told: bool, before: str = "", after: str = "", failed: bool = False
) -> None:
    if told or done.errors:
        lines, entities = counted(done.lines, "line"), counted(done.entities, "entity")
        counts = f"{lines}, {entities}, {done.errors:,} not tagged"
        _say(f"{before}{counts}{after}")
    if done.errors:
        _say(f"first of those not tagged: {done.first_error}")
    if done.errors or failed:
        raise typer.Exit(1)


def _say(message: str) -> None:
    print(f"teddy: {message}", file=sys.stderr)
