"""Who takes part: what each contender needs on disk, and why one cannot."""

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import teddy
from benchmarks.contenders.contender import Entrant
from benchmarks.process import ContenderError, run_to_end
from benchmarks.report import OURS
from benchmarks.rounds import Clock
from teddy.model.file.bundle import read_bundle

DEFAULT = (
    OURS,
    "teddy fp32",
    "spacy",
    "transformer bf16",
    "transformer fp32",
    "teddy onnx fp32",
    "teddy onnx int8",
)
ALSO = ("teddy bf16", "teddy int8")
TRANSFORMER_BATCH = 32

# `teddy.model.predictor` knows it too, and imports torch, which the parent can do without.
SHIPPED_MODEL = Path(teddy.__file__).parent / "model" / "pretrained" / "en.teddy"
COMMAND_LINE = "from teddy.cli import main; main()"


def prepare(
    names: Sequence[str],
    model_file: Path | None,
    texts_file: Path,
    folder: Path,
    clock: Clock,
    note: Callable[[str], None],
) -> list[Entrant]:
    """Make the models that are missing; return the entrants in order, and note who is left out."""
    kinds = _Kinds(model_file or SHIPPED_MODEL, texts_file, folder, clock)
    made: dict[str, Path | None] = {}
    entrants = []
    for name in names:
        kind, precision = name.rpartition(" ")[::2] if " " in name else (name, "auto")
        if kind not in made:
            made[kind] = None
            try:
                made[kind] = kinds.make(kind)
            except ContenderError as error:
                note(f"{kind}: left out: {error}")
        path = made[kind]
        if path is None:
            continue
        least = TRANSFORMER_BATCH if kind == "transformer" else 1
        entrants.append(
            Entrant(
                name=name,
                kind=kind.split()[0],
                path=str(path),
                precision=precision,
                least_texts=least,
            )
        )
    return entrants


class _Kinds:
    """Makes the files of one kind of contender: a model file, or a folder.

    Raises ContenderError.
    """

    def __init__(self, model_file: Path, texts_file: Path, folder: Path, clock: Clock) -> None:
        self._model_file = model_file
        self._texts_file = texts_file
        self._folder = folder
        self._clock = clock
        self._labels = read_bundle(model_file).manifest.labels

    def make(self, kind: str) -> Path:
        if kind == "spacy":
            return self._run(
                kind,
                ("spacy",),
                "bench",
                "-m",
                "benchmarks.contenders.spacy_ner",
                kind,
                *self._labels,
            )
        if kind == "transformer":
            program = (
                "-m",
                "benchmarks.contenders.transformer",
                kind,
                str(self._texts_file),
                *self._labels,
            )
            return self._run(kind, ("transformers", "tokenizers"), "bench", *program)
        if kind == "teddy onnx":
            program = ("-c", COMMAND_LINE, "export", str(self._model_file), "model.onnx")
            return self._run("model.onnx", ("onnx", "onnxruntime"), "onnx", *program)
        return self._model_file

    def _run(self, target: str, needed: Sequence[str], extra: str, *program: str) -> Path:
        """Runs a Python program among whose arguments is `target`, which it makes in the folder."""
        if missing := [package for package in needed if find_spec(package) is None]:
            raise ContenderError(
                f"{' and '.join(missing)} not installed; pip install -e '.[{extra}]'"
            )
        path = self._folder / target
        arguments = (str(path) if each == target else each for each in program)
        run_to_end((sys.executable, *arguments), self._folder / f"{target}.stderr", self._clock)
        return path
