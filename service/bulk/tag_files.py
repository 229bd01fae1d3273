"""`teddy tag --input`: a stream into a stream, a file into a file, or many files into a folder."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from io import BufferedIOBase, BufferedWriter
from pathlib import Path
from typing import cast

import typer

from teddy.model.errors import TeddyError
from teddy.model.system.files import atomic_path
from teddy.model.system.processes import Interruption, available_cores, interruptions
from teddy.service.bulk.inputs import Input, find_inputs, open_unpacked, packing_of, single_input
from teddy.service.bulk.job import BulkJob, Summary, identity_of, run_job
from teddy.service.bulk.journal import Job, earlier_precision, forget, tag_file
from teddy.service.bulk.progress import Progress, Rate, expected_bytes, rate_of, reported
from teddy.service.bulk.records import Format
from teddy.service.bulk.request import STANDARD_STREAM, TagRequest
from teddy.service.bulk.shards import Options
from teddy.service.bulk.state import JobState
from teddy.service.bulk.stream import SHARD_BYTES, arriving_lines, tag_stream

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
        selection = request.selection(predictor.manifest.labels)
        target = stack.enter_context(
            atomic_path(request.target) if to_file else nullcontext(request.target)
        )
        output = stack.enter_context(_open_output(target))
        for progress in tag_stream(
            lines, form, predictor, selection, output.write, text_field=request.text_field
        ):
            output.flush()
            done = progress
    _conclude(done, told=to_file)


def _tag_file(request: TagRequest, interruption: Interruption) -> None:
    """Tag a file into a file: with a journal if this process does it alone, else by shards."""
    (path,) = request.sources
    source = single_input(path, request.target, request.form)
    request.check_scores([source.form])
    path.stat()  # raises when it is not there
    count = _process_count(request, [source])
    if count == 1 and request.ray is None and _is_plain(source):
        summary = _tag_with_journal(request, source, interruption)
    else:
        folder = source.target.with_name(f".{source.target.name}{STATE_FOLDER}")
        with JobState(folder).held() as state:
            job = _Plan(inputs=[source], count=count, with_errors=source.form is Format.PARQUET)
            summary = _tag_shards(request, job, state, interruption)
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
        plan = _Plan(inputs=inputs, count=_process_count(request, inputs), with_errors=True)
        summary = _tag_shards(request, plan, state, interruption)
    if request.as_json:
        _print_summary(summary)
    for reason in summary.refused:
        _say(f"left out: {reason}")
    if not summary.n_joined and not summary.refused:
        _say("nothing to do: this job was finished before")
    files = f"{summary.files - len(summary.refused):,} files, "
    speed = f"; {summary.seconds:,.1f} s, {_rate(summary).words_per_second:,} words/s"
    _conclude(summary.total, told=True, before=files, after=speed, failed=bool(summary.refused))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    inputs: Sequence[Input]
    count: int
    """The number of processes."""
    with_errors: bool


def _tag_shards(
    request: TagRequest, plan: _Plan, state: JobState, interruption: Interruption
) -> Summary:
    before = None if request.restart else state.identity()
    precision = str(before["precision"]) if before and request.precision == "auto" else None
    with ExitStack() as stack:
        with interruption.at_once():
            workers, model = stack.enter_context(request.start(plan.count, precision))
        options = Options(selection=request.selection(model.labels), text_field=request.text_field)
        job = BulkJob(inputs=plan.inputs, options=options, with_errors=plan.with_errors)
        state.begin(identity_of(job, model), restart=request.restart)
        show = stack.enter_context(reported(expected_bytes(plan.inputs)))
        return run_job(job, state, workers, show, interruption)


def _tag_with_journal(request: TagRequest, source: Input, interruption: Interruption) -> Summary:
    with interruption.at_once():
        predictor = request.load(
            earlier_precision(request.target) if request.precision == "auto" else None
        )
    job = Job(
        source=source.path,
        target=source.target,
        form=source.form,
        selection=request.selection(predictor.manifest.labels),
        model=f"{predictor.manifest.name} {predictor.version}",
        precision=predictor.precision,
        text_field=request.text_field,
    )
    if request.restart:
        forget(request.target)
    began_at = time.monotonic()
    start: Progress | None = None
    with reported(expected_bytes([source])) as show:

        def on_progress(progress: Progress) -> None:
            nonlocal start
            start = start or progress
            show(progress, progress.since(start))
            interruption.check()

        done = tag_file(job, predictor, on_progress)
    seconds = time.monotonic() - began_at
    return Summary(
        files=1, total=done, seconds=seconds, done_here=done.since(start or Progress()), n_joined=1
    )


def _process_count(request: TagRequest, inputs: Sequence[Input]) -> int:
    """Return the number of processes asked for, else of cores, but at most of shards."""
    if request.processes is not None:
        return request.processes
    shards = sum(max(1, round(expected_bytes([each]) / SHARD_BYTES)) for each in inputs)
    return min(available_cores(), max(1, shards))


def _is_plain(source: Input) -> bool:
    return source.form is not Format.PARQUET and not source.packing and not source.target_packing


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
        counts = f"{done.lines:,} lines, {done.entities:,} entities, {done.errors:,} not tagged"
        _say(f"{before}{counts}{after}")
    if done.errors:
        _say(f"first of those not tagged: {done.first_error}")
    if done.errors or failed:
        raise typer.Exit(1)


def _say(message: str) -> None:
    print(f"teddy: {message}", file=sys.stderr)
