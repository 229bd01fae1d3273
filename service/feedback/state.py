"""The state of an app with feedback: corrections, answers that can be corrected, and metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from teddy.model.text.words import Text
from teddy.service.errors import CorrectionsUnwritableError, SettingsError
from teddy.service.feedback.answers import PAUSE_SECONDS, Answers, NewAnswer, RememberedAnswer
from teddy.service.feedback.guesses import Guesses
from teddy.service.feedback.rows import Correction
from teddy.service.feedback.scores import KINDS, ByLabel, FeedbackGauges, Version, compare
from teddy.service.feedback.store import CorrectionFiles
from teddy.service.inference.models import Models, ServedModel
from teddy.service.observability.metrics import Metrics
from teddy.service.settings import Settings

if TYPE_CHECKING:
    from teddy.model.text.documents import Tagged

ANSWERS, GUESSES = ".answers", ".guesses"
"""Where in the directory of corrections the answers are remembered, and tries are counted."""
THREADS = 2
WRITTEN_SECONDS = 3 * PAUSE_SECONDS
"""After this an answer that was just given can be found, by any worker: and so can a second one
under its id, which must not be taken for it."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Feedback:
    """Takes corrections.

    One for each app where they are wanted; its files are open as long as it is used.
    """

    def __init__(
        self, files: CorrectionFiles, answers: Answers | None, guesses: Guesses, metrics: Metrics
    ) -> None:
        """Without `answers` texts can be corrected, and no answer by its request id."""
        self._files = files
        self._answers = answers
        self._metrics = metrics
        self.guesses = guesses
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="feedback")

    @classmethod
    def of(cls, settings: Settings, metrics: Metrics, models: Models) -> Self | None:
        """As it is set; None where it is off.

        Raises SettingsError for a directory that cannot be written to.
        """
        directory = settings.feedback_dir
        if directory is None:
            return None
        files = CorrectionFiles(
            directory,
            file_bytes=settings.feedback_file_bytes,
            max_bytes=settings.feedback_max_bytes,
        )
        files.open()
        remembered = settings.feedback_remember_bytes
        answers = open_answers(directory / ANSWERS, remembered) if remembered else None
        metrics.add(FeedbackGauges(files, lambda: served(models)))
        return cls(files, answers, count_guesses(directory / GUESSES), metrics)

    def remember(
        self,
        request_id: str,
        by: str,
        model: ServedModel,
        texts: Sequence[Text],
        tagged: "Sequence[Tagged]",
    ) -> None:
        """Let an answer be corrected later; one without texts takes up its id. Takes no time."""
        if self._answers is not None:
            given = NewAnswer(
                request_id=request_id,
                by=by,
                model=model.name,
                version=model.version,
                texts=texts,
                tagged=tagged,
            )
            self._answers.remember(given)

    async def recall(self, request_id: str, by: str) -> RememberedAnswer | None:
        """Return the one answer under that id to that caller, if it is remembered."""
        if self._answers is None:
            return None
        await asyncio.sleep(WRITTEN_SECONDS)
        return await self._run(self._answers.find, request_id, by)

    @asynccontextmanager
    async def guess(self, caller: str) -> AsyncIterator[None]:
        """Take one of a caller's tries, and give it back if nothing is raised: it was right.

        Raises TooManyGuessesError, and CorrectionsUnwritableError.
        """
        try:
            await self._run(self.guesses.take, caller)
            yield
            await self._run(self.guesses.give_back, caller)
        except OSError as error:
            raise CorrectionsUnwritableError(
                f"Corrections by request id cannot be counted: {error.strerror}."
            ) from error

    async def store(self, correction: Correction) -> ByLabel:
        """Have a correction on the disk, and count it; gives the outcomes by label.

        Raises CorrectionsFullError and CorrectionsUnwritableError.
        """
        outcomes = await self._run(self._store, correction)
        self._metrics.feedback.labels(correction.model).inc()
        for label, of_label in outcomes.items():
            for kind in KINDS:
                self._metrics.feedback_entities.labels(correction.model, label, kind).inc(
                    getattr(of_label, kind)
                )
        return outcomes

    def close(self) -> None:
        """Finish what is being stored; forget the answers."""
        self._executor.shutdown()
        if self._answers is not None:
            self._answers.close()
        self._files.close()

    def _store(self, correction: Correction) -> ByLabel:
        self._files.append(correction.row())
        return compare(correction.wanted, correction.found)

    async def _run(
        self,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call `function(...)` in a thread of feedback's, so that texts never wait for a disk."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(function, *args, **kwargs))


def open_answers(directory: Path, most_bytes: int) -> Answers:
    """Return the remembered answers, of which there are none yet. Raises SettingsError."""
    answers = Answers(directory, most_bytes=most_bytes)
    try:
        answers.open()
    except OSError as error:
        raise SettingsError(f"TEDDY_FEEDBACK_DIR: {directory}: {error.strerror}") from error
    return answers


def count_guesses(file: Path) -> Guesses:
    """Return the count of wrong corrections. Raises SettingsError."""
    try:
        return Guesses(file)
    except OSError as error:
        raise SettingsError(f"TEDDY_FEEDBACK_DIR: {file}: {error.strerror}") from error


def served(models: Models) -> list[Version]:
    """Return what the gauges are about; nothing while models are being loaded."""
    return [(model.name, model.version) for model in models.all()] if models.ready else []
