"""What `teddy tag` is asked for, checked before anything is loaded."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.service.bulk.records import Format, Selection
    from teddy.service.bulk.workers import LoadedModel, Workers

STANDARD_STREAM = Path("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRequest:
    """The arguments of `teddy tag`."""

    text: str | None
    model_file: Path | None
    sources: tuple[Path, ...]
    target_name: str
    form_name: str
    text_field: str
    labels: str | None
    min_score: float
    processes: int | None
    ray: str | None
    restart: bool
    as_json: bool
    precision: str

    def check(self) -> None:
        """Refuse options that contradict each other, before a model is loaded for nothing."""
        if (self.text is None) == (not self.sources):
            raise typer.BadParameter("give either a text or --input", param_hint="TEXT")
        if self.text is not None and self.target != STANDARD_STREAM:
            raise typer.BadParameter(
                "goes with --input; redirect the standard output instead", param_hint="--output"
            )
        if self.text is not None and self.form_name != "auto":
            raise typer.BadParameter("says what --input is", param_hint="--format")
        if len(self.sources) > 1 and STANDARD_STREAM in self.sources:
            raise typer.BadParameter(
                "standard input goes with no other input", param_hint="--input"
            )
        if self.sources and self.is_stream:
            self._check_stream()

    def _check_stream(self) -> None:
        if self.as_json:
            raise typer.BadParameter(
                "goes with TEXT; what --input gives is JSON already", param_hint="--json"
            )
        if not self._is_single:
            raise typer.BadParameter(
                "give a folder for the answers to these inputs", param_hint="--output"
            )
        if (self.processes or 1) > 1 or self.ray is not None:
            hint = "--processes" if self.ray is None else "--ray"
            raise typer.BadParameter("is for files, and --output with it", param_hint=hint)
        self.check_scores([self.format_of(self.sources[0])])

    def check_scores(self, forms: "list[Format]") -> None:
        """Refuse a least score where there are no scores."""
        if self.min_score and "conll" in forms:
            raise typer.BadParameter("columns have no scores", param_hint="--min-score")

    @property
    def target(self) -> Path:
        """Where the answers go."""
        return Path(self.target_name)

    @property
    def form(self) -> "Format | None":
        """The format asked for."""
        from teddy.service.bulk.records import Format

        return None if self.form_name == "auto" else Format(self.form_name)

    @property
    def is_stream(self) -> bool:
        """Whether what comes in or goes out is a pipe, a terminal or a device."""
        source = self.sources[0] if self.sources else STANDARD_STREAM
        odd_source = source == STANDARD_STREAM or (
            source.exists() and not source.is_file() and not source.is_dir()
        )
        odd_target = self.target.exists() and not self.target.is_file() and not self.target.is_dir()
        return odd_source or self.target == STANDARD_STREAM or odd_target

    @property
    def is_folder(self) -> bool:
        """Whether the output is a folder: it is one, is written as one, or has to be one."""
        return self.target.is_dir() or self.target_name.endswith(os.sep) or not self._is_single

    @property
    def _is_single(self) -> bool:
        from teddy.service.bulk.inputs import is_single_file

        return is_single_file(self.sources)

    def format_of(self, source: Path) -> "Format":
        """Return the format asked for, or the one that the name of the input tells."""
        from teddy.service.bulk.inputs import guess_format
        from teddy.service.bulk.records import Format

        return self.form or (Format.TEXT if source == STANDARD_STREAM else guess_format(source))

    def load(self, precision: str | None = None) -> "Predictor":
        """Load the model, in the precision asked for unless another is given."""
        from teddy.service.bulk.workers import ModelChoice, load_model

        return load_model(ModelChoice(path=self.model_file, precision=precision or self.precision))

    def start(
        self, count: int, precision: str | None
    ) -> "AbstractContextManager[tuple[Workers, LoadedModel]]":
        """Start those who are to tag shards: a cluster, processes, or this process when one is enough."""
        from teddy.service.bulk.workers import ModelChoice

        choice = ModelChoice(path=self.model_file, precision=precision or self.precision)
        if self.ray is not None:
            from teddy.service.bulk.ray_data import start_ray

            return start_ray(self.ray, count, choice)
        if count > 1:
            from teddy.service.bulk.processes import start_processes

            return start_processes(count, choice)
        from teddy.service.bulk.workers import start_alone

        return start_alone(choice)

    def selection(self, known: tuple[str, ...]) -> "Selection":
        """Return which entities are wanted of a model that knows these labels."""
        from teddy.service.bulk.records import Selection

        if self.labels is None:
            return Selection(min_score=self.min_score)
        wanted = frozenset(label.strip() for label in self.labels.split(","))
        if strangers := wanted.difference(known):
            message = f"the model has {', '.join(known)}, not {', '.join(sorted(strangers))}"
            raise typer.BadParameter(message, param_hint="--labels")
        return Selection(labels=wanted, min_score=self.min_score)
