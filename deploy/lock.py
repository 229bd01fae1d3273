"""Write deploy/requirements/: what the image has, with hashes.

Each file holds every distribution of its name with one exact version and the hashes of all its
files, so that one file serves all processors and Pythons. torch is by itself, as it comes from
PyTorch's index of CPU-only wheels; a file of an extra has what the extra adds to `teddy.txt`. No
file names an index: what is locked is bytes, wherever they come from.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "requirements"
EXTRAS = ("train", "otel", "rules")
HEADER = "# Made by `make lock`; do not edit.\n"
NAME = re.compile(r"(?m)^([\w.-]+)==")


def main() -> None:
    """Write all files, with the newest versions that pyproject.toml allows."""
    torch = f"torch=={torch_pin()}+cpu"
    index = os.environ.get("TORCH_INDEX_URL")
    if not index:
        sys.exit("TORCH_INDEX_URL is not set: name the index of torch's CPU-only wheels")
    write("torch", compiled("-", "--no-deps", "--default-index", index, given=torch))
    base = compiled("pyproject.toml", "--no-emit-package", "torch")
    write("teddy", base)
    left_out = [
        option for name in ["torch", *names(base)] for option in ("--no-emit-package", name)
    ]
    for extra in EXTRAS:
        constraints = ("--constraint", str(FOLDER / "teddy.txt"))
        write(extra, compiled("pyproject.toml", "--extra", extra, *constraints, *left_out))


def torch_pin() -> str:
    """Return the version of torch that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (pin,) = [each for each in project["dependencies"] if each.startswith("torch==")]
    return str(pin).removeprefix("torch==")


def compiled(source: str, *options: str, given: str = "") -> str:
    """Return requirements with hashes, resolved by uv for Linux and the image's Python."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", source, *options]
    command += ["--config-file", str(FOLDER / "uv.toml")]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    command += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
    return subprocess.run(  # noqa: S603 -- uv, on files of the repository
        command, cwd=ROOT, input=given, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def names(requirements: str) -> list[str]:
    """Return the distributions that requirements name."""
    return NAME.findall(requirements)


def write(name: str, requirements: str) -> None:
    """Write one file of the folder."""
    (FOLDER / f"{name}.txt").write_text(HEADER + requirements, encoding="utf-8")
    print(f"{name}.txt: {len(names(requirements))}")


if __name__ == "__main__":
    main()
