"""The folds of `teddy check --deep` side by side, each in a process of its own.

Sentences go to a process by a temporary file, results come back through a pipe. Processes ignore
Ctrl-C: the parent ends them. If the parent dies, a process ends at its next update, since its pipe
is closed. (The processes of concurrent.futures outlive a killed parent, and before Python 3.14
cannot be ended within a task.)
"""

import pickle
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from teddy.model.errors import TeddyError, TrainingError
from teddy.training.check.noise_taggers import Fold, OnProgress, QuickConfig, Reading, read_fold
from teddy.training.learning.torch_setup import set_up_memory

_SECONDS_TO_END = 5.0


@dataclass(slots=True)
class _Running:
    fold: int
    process: SpawnProcess
    pipe: connection.Connection


def read_folds(
    folds: Sequence[Fold], config: QuickConfig, processes: int, on_progress: OnProgress
) -> list[list[Reading]]:
    """Read every fold, at most so many at a time; with one, in this process.

    The result does not depend on `processes`. Raises TrainingError for a process that ends without
    a result, and what `read_fold` raises.
    """
    shares = [0.0] * len(folds)

    def progressed(number: int, share: float) -> None:
        shares[number] = share
        on_progress(sum(shares) / len(shares))

    if min(processes, len(folds)) <= 1:
        with _threads(1):  # as in a process of its own: sums in another order give other weights
            return [read_fold(fold, config, partial(progressed, fold.number)) for fold in folds]
    with tempfile.TemporaryDirectory(prefix="teddy-check-") as folder:
        files = [Path(folder) / f"{fold.number}.pickle" for fold in folds]
        for fold, file in zip(folds, files, strict=True):
            file.write_bytes(pickle.dumps((fold, config)))
        return _read_side_by_side(files, processes, progressed)


def _read_side_by_side(
    files: Sequence[Path], processes: int, progressed: Callable[[int, float], None]
) -> list[list[Reading]]:
    waiting = list(enumerate(files))
    running: list[_Running] = []
    results: dict[int, list[Reading]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                running.append(_started(*waiting.pop(0)))
            ready = connection.wait([each.pipe for each in running])
            for each in [one for one in running if one.pipe in ready]:
                message = _received(each)
                if isinstance(message, float):
                    progressed(each.fold, message)
                else:
                    results[each.fold] = message
                    running.remove(each)
                    _end(each)
    finally:
        for each in running:
            each.process.terminate()
            _end(each)
    return [results[number] for number in range(len(files))]


def _started(fold: int, file: Path) -> _Running:
    # a fork would inherit torch's threads in the middle of their work
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, file), daemon=True)
    with _interrupts_held_back():
        process.start()
    theirs.close()
    return _Running(fold, process, ours)


def _received(running: _Running) -> float | list[Reading]:
    try:
        message = running.pipe.recv()
    except EOFError:
        running.process.join(_SECONDS_TO_END)
        early = f"ended before its time (exit code {running.process.exitcode})"
        raise TrainingError(f"the process of fold {running.fold + 1} {early}") from None
    if isinstance(message, str):
        raise TrainingError(f"fold {running.fold + 1}: {message}")
    found: float | list[Reading] = message
    return found


def _end(running: _Running) -> None:
    running.process.join(_SECONDS_TO_END)
    if running.process.is_alive():
        running.process.kill()
        running.process.join()
    running.pipe.close()


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start a process that ignores Ctrl-C: it inherits the mask; what comes meanwhile is ours."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    set_up_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _work(pipe: connection.Connection, file: Path) -> None:
    """Read a fold in a process of its own; send progress, then the result or an error's message."""
    fold, config = pickle.loads(file.read_bytes())  # noqa: S301, our parent has just written it
    try:
        with _threads(1):
            pipe.send(read_fold(fold, config, pipe.send))
    except TeddyError as error:
        pipe.send(str(error))
    except BrokenPipeError:
        return
