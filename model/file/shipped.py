"""The model files that come with Teddy, and the names by which they are asked for."""

from pathlib import Path

from teddy.model.errors import ModelFileError

_FOLDER = Path(__file__).parents[1] / "pretrained"


def shipped_models() -> dict[str, Path]:
    """Return the files of the models that ship, by their names."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.teddy"))}


def find_model(path: str | Path | None, shipped_model: Path) -> str | Path:
    """Return the model file that is meant: a file goes before a name of a model that ships.

    Raises ModelFileError for what is neither.
    """
    if path is None:
        return shipped_model
    name = str(path)
    if Path(path).name != name or Path(path).suffix in (".teddy", ".onnx") or Path(path).exists():
        return path
    if name not in shipped_models():
        known = ", ".join(shipped_models())
        raise ModelFileError(
            path, f"no such file, and no model of that name ships; there is {known}"
        )
    return shipped_models()[name]
