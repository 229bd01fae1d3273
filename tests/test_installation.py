"""An installed Teddy: one name, which breaks nothing in a folder with a `model`, `service` and
`training` of its own.

The wheels are installed into environments of their own, which hold nothing else but what these
wheels require."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from textwrap import dedent
from typing import get_args

import pytest
from packaging.requirements import Requirement

from teddy.model.text import offsets
from teddy.service.client import calls

ROOT = Path(__file__).parents[1]
SOURCES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "teddy",
    "model",
    "training",
    "service",
    "client",
)
TEXT = "He said, Teddy Roosevelt was a great President!"
MOST_CLIENT_BYTES = 15_000_000
END_SECONDS = 120.0
"""Against hanging only."""
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that nothing an earlier build has left gets into a wheel."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=leave)
        else:
            shutil.copy(ROOT / name, copy)
    return copy


def built(project: Path, directory: Path) -> Path:
    """The wheel of a project, built with what is installed here."""
    run(
        [
            *PIP,
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            f"--wheel-dir={directory}",
            project,
        ],
        directory,
    )
    (wheel,) = directory.glob("*.whl")
    return wheel


def run(command: Sequence[str | Path], directory: Path) -> str:
    """The output of a command, which must succeed, in a directory and without settings of whoever
    runs the tests."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TEDDY_", "PYTHONPATH"))
    }
    return kept | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def client_wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(sources / "client", tmp_path_factory.mktemp("client-wheel"))


def new_environment(directory: Path, wheel: Path) -> Path:
    """The Python of an environment that has a wheel and nothing else."""
    venv.create(directory, with_pip=False)
    python = directory / "bin" / "python"
    run(
        [*PIP, "--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel],
        directory,
    )
    return python


def packages_of(environment: Path) -> Path:
    (found,) = environment.glob("lib/python*/site-packages")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with Teddy's wheel, which finds what Teddy requires where these
    tests find it."""
    directory = tmp_path_factory.mktemp("installed")
    python = new_environment(directory, wheel)
    here = Path(str(distribution("torch").locate_file("")))
    (packages_of(directory) / "required.pth").write_text(f"{here}\n")
    return python


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's folder, with packages of theirs that must be neither run nor replaced."""
    directory = tmp_path_factory.mktemp("project")
    for name in ("model", "service", "training"):
        (directory / name).mkdir()
        (directory / name / "__init__.py").write_text(f"mine = '{name}'\n")
    return directory


def test_a_wheel_has_teddy_and_nothing_else_at_its_top(wheel: Path, client_wheel: Path) -> None:
    for path in (wheel, client_wheel):
        tops = {name.split("/")[0] for name in zipfile.ZipFile(path).namelist()}
        assert {top for top in tops if not top.endswith(".dist-info")} == {"teddy"}


def test_a_wheel_has_every_module_and_what_lies_beside_them(wheel: Path) -> None:
    suffixes = {".py", ".teddy", ".toml", ".jsonl", ".jinja", ".html", ".css", ".js", ".svg"}
    paths = [path for room in ("model", "training", "service") for path in (ROOT / room).rglob("*")]
    inside = {f"teddy/{path.relative_to(ROOT)}" for path in paths}
    expected = {
        name for name in inside if Path(name).suffix in suffixes and "__pycache__" not in name
    }
    assert expected <= set(zipfile.ZipFile(wheel).namelist())
    assert "teddy/py.typed" in zipfile.ZipFile(wheel).namelist()


def test_the_command_tags_in_a_folder_with_packages_of_the_same_names(
    python: Path, project: Path
) -> None:
    found = json.loads(run([python.with_name("teddy"), "tag", "--json", TEXT], project))
    assert [(each["label"], each["text"]) for each in found["entities"]] == [
        ("PER", "Teddy Roosevelt")
    ]


def test_a_program_has_both_its_own_packages_and_teddy(python: Path, project: Path) -> None:
    program = f"""
        import model, service, training, teddy
        assert (model.mine, service.mine, training.mine) == ("model", "service", "training")
        assert "site-packages" in teddy.__file__, teddy.__file__
        (entity,) = teddy.load().tag([{TEXT!r}])[0]
        assert isinstance(entity, teddy.Entity), entity
        print(entity.text)
    """
    assert run([python, "-c", dedent(program)], project) == "Teddy Roosevelt\n"


@contextmanager
def served(python: Path, project: Path) -> Iterator[str]:
    """The address of an installed Teddy that serves with two workers, which are processes of their
    own."""
    command = [str(python.with_name("teddy")), "serve", "--port", "0", "--workers", "2"]
    with subprocess.Popen(
        command,
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout
            address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert address
            yield address[0]
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            finally:
                process.kill()


def test_an_installed_teddy_serves_and_the_client_alone_asks_it(
    python: Path, project: Path, client_wheel: Path, tmp_path: Path
) -> None:
    client = new_environment(tmp_path, client_wheel)
    for name in sorted(required("httpx")):
        copy_distribution(name, packages_of(tmp_path))
    program = f"""
        import sys
        from teddy import Client
        with Client(sys.argv[1]) as client:
            (entity,) = client.tag({TEXT!r}).entities
        print(entity.label, entity.text)
        heavy = {{"torch", "numpy", "fastapi", "pydantic"}}
        print(*sorted({{name.split(".")[0] for name in sys.modules}} & heavy))
    """
    with served(python, project) as address:
        asked = run([client, "-c", dedent(program), address], project)
        asked_by_all = run([python, "-c", dedent(program), address], project)
    assert asked == asked_by_all == "PER Teddy Roosevelt\n\n"


def test_the_client_alone_is_small_and_says_what_it_lacks(
    client_wheel: Path, tmp_path: Path
) -> None:
    client = new_environment(tmp_path, client_wheel)
    assert "needs httpx: pip install" in failure(client, "import teddy; teddy.Client")
    assert {"torch", "numpy", "fastapi"} & required("httpx") == set()
    for name in sorted(required("httpx")):
        copy_distribution(name, packages_of(tmp_path))
    assert (
        sum(path.stat().st_size for path in packages_of(tmp_path).rglob("*") if path.is_file())
        < MOST_CLIENT_BYTES
    )
    assert "teddy.load is not part of teddy-client" in failure(client, "import teddy; teddy.load")
    assert "no attribute 'laod'" in failure(client, "import teddy; teddy.laod")


def failure(python: Path, program: str) -> str:
    """The last line that a program says, which fails."""
    done = subprocess.run(
        [python, "-c", program],
        capture_output=True,
        env=environment(),
        cwd=python.parent,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def required(name: str) -> set[str]:
    """The distributions that one needs, itself among them, as far as they are meant for this
    Python."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            needed = [Requirement(line) for line in distribution(each).requires or []]
            waiting += [
                one.name
                for one in needed
                if one.marker is None or one.marker.evaluate({"extra": ""})
            ]
    return found


def copy_distribution(name: str, target: Path) -> None:
    """As an installation of it leaves it, without scripts and what was compiled."""
    for file in distribution(name).files or []:
        if ".." not in file.parts and "__pycache__" not in file.parts:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target / file)


def test_the_two_distributions_agree_on_their_version_and_on_the_client() -> None:
    teddy, client = (
        tomllib.loads((ROOT / name).read_text(encoding="utf-8"))["project"]
        for name in ("pyproject.toml", "client/pyproject.toml")
    )
    assert client["version"] == teddy["version"]
    assert set(client["dependencies"]) <= set(teddy["optional-dependencies"]["client"])
    assert get_args(calls.OffsetUnit) == get_args(offsets.OffsetUnit)
    folder = ROOT / "client" / "teddy"
    taken = {
        str(path.relative_to(folder)): path.resolve()
        for path in folder.rglob("*")
        if path.is_symlink()
    }
    assert taken == {
        "__init__.py": ROOT / "teddy" / "__init__.py",
        "py.typed": ROOT / "teddy" / "py.typed",
        "service/__init__.py": ROOT / "service" / "__init__.py",
        "service/client": ROOT / "service" / "client",
    }
