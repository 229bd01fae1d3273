"""The options of `teddy tag`, checked before anything is loaded."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.model.text.sentences import SentenceMode
    from teddy.service.bulk.records import Format, Selection
    from teddy.service.bulk.workers import LoadedModel, ModelChoice, Workers

STANDARD_STREAM = Path("-")
ThresholdOption = Annotated[
    str | None,
    Option(
        "--threshold",
        metavar="P",
        help="Every span of at least this probability, also off the best path: 0.05, or by label, "
        "PER=0.02,LOC=0.1.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRequest:
    """The arguments of `teddy tag`."""

    text: str | None
    model_file: Path | None
    sources: Sequence[Path]
    target_name: str
    form_name: str
    text_field: str
    labels: str | None
    min_score: float
    processes: int | None
    ray: str | None
    restart: bool
    as_json: bool
    html_name: str | None
    precision: str
    sentences: "SentenceMode | None" = None
    threshold: str | None = None
    rules: Path | None = None
    to: str | None = None
    """A format of annotations for the answers."""

    def check(self) -> None:
        """Raise BadParameter for options that contradict each other."""
        if (self.text is None) == (not self.sources):
            raise BadParameter("give either a text or --input", param_hint="TEXT")
        if self.to is not None:
            self._check_to()
        elif self.html_name is not None:
            self._check_html()
        elif self.text is not None and self.target != STANDARD_STREAM:
            reason = "goes with --input; redirect the standard output instead"
            raise BadParameter(reason, param_hint="--output")
        if self.text is not None and self.form_name != "auto":
            raise BadParameter("says what --input is", param_hint="--format")
        if len(self.sources) > 1 and STANDARD_STREAM in self.sources:
            raise BadParameter("standard input goes with no other input", param_hint="--input")
        if self.sources and self.is_stream:
            self._check_stream()

    def _check_html(self) -> None:
        other = "--json" if self.as_json else "--output"
        if self.as_json or self.target_name != str(STANDARD_STREAM):
            raise BadParameter(f"takes the place of {other}", param_hint="--html")
        for source in self.sources:
            if self.format_of(source) not in ("text", "jsonl"):
                raise BadParameter("shows texts: .txt and .jsonl", param_hint="--html")

    def _check_to(self) -> None:
        if self.text is not None:
            raise BadParameter("goes with --input", param_hint="--to")
        if self.html_name is not None or self.as_json:
            other = "--json" if self.as_json else "--html"
            raise BadParameter(f"takes the place of {other}", param_hint="--to")
        for source in self.sources:
            if self.format_of(source) not in ("text", "jsonl"):
                reason = (
                    "takes texts, .txt and .jsonl; for the rest there is `teddy convert --model`"
                )
                raise BadParameter(reason, param_hint="--to")
            if source.exists() and self.target.exists() and self.target.samefile(source):
                raise BadParameter("is the input as well", param_hint="--output")

    def _check_stream(self) -> None:
        if self.as_json:
            reason = "goes with TEXT; what --input gives is JSON already"
            raise BadParameter(reason, param_hint="--json")
        if not self._is_single:
            reason = "give a folder for the answers to these inputs"
            raise BadParameter(reason, param_hint="--output")
        if (self.processes or 1) > 1 or self.ray is not None:
            hint = "--processes" if self.ray is None else "--ray"
            raise BadParameter("is for files, and --output with it", param_hint=hint)
        self.check_scores([self.format_of(self.sources[0])])

    def check_scores(self, forms: "list[Format]") -> None:
        """Raise BadParameter for a least score where there are no scores."""
        if self.min_score and "conll" in forms:
            raise BadParameter("columns have no scores", param_hint="--min-score")

    @property
    def target(self) -> Path:
        """The path of the answers."""
        return Path(self.target_name if self.html_name is None else self.html_name)

    @property
    def form(self) -> "Format | None":
        """The format asked for; None for `auto`."""
        from teddy.service.bulk.records import Format

        return None if self.form_name == "auto" else Format(self.form_name)

    @property
    def is_stream(self) -> bool:
        """Whether input or output is a pipe, a terminal or a device, or a page or annotations."""
        if self.html_name is not None or self.to is not None:
            return True
        source = self.sources[0] if self.sources else STANDARD_STREAM
        return (
            source == STANDARD_STREAM
            or (source.exists() and not source.is_file() and not source.is_dir())
            or self.target == STANDARD_STREAM
            or (self.target.exists() and not self.target.is_file() and not self.target.is_dir())
        )

    @property
    def is_folder(self) -> bool:
        """Whether the output is a folder: it is one, is written as one, or has to be one."""
        return self.target.is_dir() or self.target_name.endswith(os.sep) or not self._is_single

    @property
    def _is_single(self) -> bool:
        from teddy.service.bulk.inputs import is_single_file

        return is_single_file(self.sources)

    def format_of(self, source: Path) -> "Format":
        """Return the format asked for, or that of the input's name."""
        from teddy.service.bulk.inputs import guess_format
        from teddy.service.bulk.records import Format

        return self.form or (Format.TEXT if source == STANDARD_STREAM else guess_format(source))

    def load(self, precision: str | None = None) -> "Predictor":
        """Load the model, in the precision asked for unless another is given."""
        from teddy.service.bulk.workers import load_model

        return load_model(self._choice(precision))

    def _choice(self, precision: str | None) -> "ModelChoice":
        from teddy.service.bulk.workers import ModelChoice

        return ModelChoice(
            path=self.model_file,
            precision=precision or self.precision,
            sentences=self.sentences,
            rules=self.rules,
        )

    def start(
        self, count: int, precision: str | None
    ) -> "AbstractContextManager[tuple[Workers, LoadedModel]]":
        """Start the workers: a cluster, processes, or this process when one is enough."""
        from teddy.service.bulk.workers import start_alone

        choice = self._choice(precision)
        if self.ray is not None:
            from teddy.service.bulk.ray_data import start_ray

            return start_ray(self.ray, count, choice)
        if count > 1:
            from teddy.service.bulk.processes import start_processes

            return start_processes(count, choice)
        return start_alone(choice)

    def selection(self, known: tuple[str, ...]) -> "Selection":
        """Return the choice of entities, of a model that knows these labels.

        Raises BadParameter for other labels.
        """
        from teddy.service.bulk.records import Selection

        threshold = read_threshold(self.threshold, known)
        if self.labels is None:
            return Selection(min_score=self.min_score, threshold=threshold)
        wanted = frozenset(label.strip() for label in self.labels.split(","))
        if unknown := wanted.difference(known):
            reason = f"the model has {', '.join(known)}, not {', '.join(sorted(unknown))}"
            raise BadParameter(reason, param_hint="--labels")
        return Selection(labels=wanted, min_score=self.min_score, threshold=threshold)


def read_threshold(
    given: str | None, known: Sequence[str]
) -> float | tuple[tuple[str, float], ...] | None:
    """Return `0.05`, or `PER=0.02,LOC=0.1` in pairs. Raises BadParameter."""
    if given is None:
        return None
    from teddy.model.tags.search import Search

    try:
        if "=" not in given:
            Search.of(known, number := float(given))
            return number
        parts = (part.partition("=") for part in given.split(","))
        by_label = {name.strip(): float(value) for name, _, value in parts}
        Search.of(known, by_label)
    except ValueError as error:
        raise BadParameter(str(error), param_hint="--threshold") from None
    return tuple(sorted(by_label.items()))
