"""The laws of the house that no single module can keep by itself."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from teddy.model.file.bundle import read_bundle
from teddy.model.file.shipped import shipped_models

ROOT = Path(__file__).parents[1]
PACKAGES = ("model", "training", "service")
"""The folders; `teddy` has links to them, so that `model/text/words.py` is
`teddy.model.text.words`."""
MAY_IMPORT = {
    "model": {"model"},
    "training": {"training", "model"},
    "service": {"service", "model"},
}
ONLY_IN_SERVICE = {
    "fastapi",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "structlog",
    "pydantic_settings",
}
HEAVY = {
    "torch",
    "numpy",
    "pydantic",
    "fastapi",
    "uvicorn",
    "prometheus_client",
    "sentencepiece",
    "matplotlib",
    "rich",
}
HEAVY |= {"jinja2", "mlflow", "onnx", "onnxruntime", "opentelemetry", "optuna", "ray", "httpx"}
HEAVY |= {"pyarrow", "transformers"}
MOST_LINES_OF_ONE = 60  # function, its signature and docstring included
MOST_LINES = 350
MOST_FILES = 335
MOST_AT_THE_TOP = 12
MOST_OF_A_NAME = 3

# In parts, so that this file may be searched too.
FOREIGN = {
    "a path of one machine": re.compile(r"(?<![\w.~/])/" + r"work(?=/|\s|$|[\"'`])"),
    "a folder outside the repository": re.compile(r"\.\./" + "shared"),
    "the host of a package registry": re.compile(
        r"\b(pypi\."
        + r"org|pythonhosted\."
        + r"org|download\.pytorch\."
        + r"org|ghcr\."
        + r"io|quay\."
        + r"io)\b"
    ),
}

MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
COMMAND = sorted((ROOT / "teddy").glob("*.py"))


def name_of(path: Path) -> str:
    """Return `teddy.model.text.words` for model/text/words.py, and `teddy.model` for
    model/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "teddy" else ("teddy", *parts)).removesuffix(".__init__")


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(node: ast.AST) -> Iterator[str]:
    """Yield the full names of the modules that a node imports; of `from a import b`, both `a` and
    `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are absolute"
        assert node.module
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_at_once(path: Path) -> set[str]:
    """Return what is imported when the module is, which is neither what functions import nor what
    only types need."""
    return {name for node in tree_of(path).body for name in imports(node)}


def imported(path: Path) -> set[str]:
    """Return all that is ever imported: at once, in functions, and for types alone."""
    return {name for node in ast.walk(tree_of(path)) for name in imports(node)}


def imported_packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def rooms_of_ours(path: Path) -> set[str]:
    """Return `model` where `teddy.model` or anything in it is imported, and `teddy.cli` where that
    is."""
    parts = [name.split(".") for name in imported(path)]
    rooms = {each[1] for each in parts if each[0] == "teddy" and len(each) > 1}
    return (rooms & {*PACKAGES, "cli"}) | {
        each[0] for each in parts if each[0] in {*PACKAGES, "tests"}
    }


def test_training_and_service_import_model_and_nothing_else_of_ours() -> None:
    wrong = {short(path): rooms_of_ours(path) - MAY_IMPORT[package_of(path)] for path in MODULES}
    # The one that torchrun starts runs the command `teddy train`, errors and exit codes included.
    assert {path: names for path, names in wrong.items() if names} == {
        "training/__main__.py": {"cli"}
    }


def test_only_the_service_knows_of_http_metrics_and_settings() -> None:
    others = [path for path in MODULES if package_of(path) != "service"]
    known = {short(path): imported_packages(path) & ONLY_IN_SERVICE for path in others}
    # imported when a job is to be watched
    allowed = {"training/job/metrics.py": {"prometheus_client"}}
    assert {path: names for path, names in known.items() if names} == allowed


def test_what_few_install_is_named_in_few_files() -> None:
    extras = {
        "pyarrow": ["service/bulk/parquet.py", "training/data/readers/binary.py"],
        "spacy": ["training/data/readers/binary.py"],
        "ray": [
            "service/bulk/ray_data.py",
            "service/ray_app.py",
            "training/learning/distributed/ray_train.py",
        ],
        "mlflow": ["training/job/mlflow_run.py"],
        "transformers": ["training/learning/transformer.py"],
    }
    assert {
        name: [short(path) for path in MODULES if name in imported_packages(path)]
        for name in extras
    } == extras


def names_torch_jit(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "jit" and isinstance(node.value, ast.Name) and node.value.id == "torch"
    return any(name == "torch.jit" or name.startswith("torch.jit.") for name in imports(node))


def test_one_file_names_torch_jit() -> None:
    named = [
        short(path)
        for path in MODULES
        if any(names_torch_jit(node) for node in ast.walk(tree_of(path)))
    ]
    assert named == ["model/network/torchscript.py"]


def test_no_module_imports_itself_by_a_detour() -> None:
    """Not even in a function, or for types alone."""
    known = {name_of(path): path for path in [*MODULES, *COMMAND]}
    graph = {name: (imported(path) & known.keys()) - {name} for name, path in known.items()}
    assert [*TopologicalSorter(graph).static_order()]


def test_a_room_has_few_doors_and_a_name_few_meanings() -> None:
    assert len(MODULES) + len(COMMAND) <= MOST_FILES
    for package in PACKAGES:
        assert len([*(ROOT / package).glob("*.py")]) <= MOST_AT_THE_TOP
    names = Counter(path.name for path in MODULES if path.name != "__init__.py")
    assert {name: n for name, n in names.items() if n > MOST_OF_A_NAME} == {}


def runs_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is evaluated when a module is imported: all but the bodies of functions."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        parts: list[ast.AST] = [
            *node.decorator_list,
            *node.args.defaults,
            *filter(None, node.args.kw_defaults),
        ]
    else:
        parts = [] if isinstance(node, ast.Lambda) else [*ast.iter_child_nodes(node)]
    for part in parts:
        yield from runs_at_import(part)


def test_nothing_knows_the_environment_when_it_is_imported() -> None:
    named = {
        f"{short(path)}:{node.lineno}"
        for path in [*MODULES, *COMMAND]
        for node in runs_at_import(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv")
    }
    assert named == set()


@pytest.mark.parametrize(
    ("pattern", "home"),
    [
        (r"\bflock\(", "model/system/files.py"),
        (r"\bcpu_count\(|\bsched_getaffinity\(", "model/system/processes.py"),
        (r"/proc/self/statm", "model/system/memory.py"),
        (r"it was ended by", "model/system/processes.py"),
    ],
)
def test_what_the_system_is_asked_for_is_asked_in_one_place(pattern: str, home: str) -> None:
    assert [
        short(path) for path in MODULES if re.search(pattern, path.read_text(encoding="utf-8"))
    ] == [home]


def test_every_module_says_what_it_is_for() -> None:
    assert [short(path) for path in MODULES if not ast.get_docstring(tree_of(path))] == []


def test_an_installation_has_every_package() -> None:
    assert {path.parent for path in MODULES} == {
        path.parent for path in MODULES if path.name == "__init__.py"
    }
    assert {package: (ROOT / "teddy" / package).resolve() for package in PACKAGES} == {
        package: ROOT / package for package in PACKAGES
    }


@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_the_model_card_in_the_documentation_is_that_of_the_model_that_ships(name: str) -> None:
    card = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert read_bundle(shipped_models()[name]).card == card


def test_no_module_is_too_long_to_be_read_in_one_sitting() -> None:
    lengths = {short(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {
        f"{short(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n_lines for name, n_lines in lengths.items() if n_lines > MOST_LINES_OF_ONE} == {}


UNPLAIN = re.compile(
    r"(?<![a-z])(who" + r"ever|no" + r"body|some" + r"body|any" + r"body|is tol" + r"d)(?![a-z])"
)


def test_docstrings_comments_and_messages_are_in_plain_words() -> None:
    """As tests/test_docs.py asks of the pages."""
    sources = [*MODULES, *COMMAND, *(ROOT / "deploy").rglob("*.py")]
    found = {
        f"{short(path)}:{number}": line.strip()
        for path in sources
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if UNPLAIN.search(line.lower())
    }
    assert found == {}


def heavy_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(output.splitlines()[-1].split()) & HEAVY


@pytest.mark.parametrize(
    "statement",
    [
        "import teddy",
        "import teddy; teddy.model, teddy.training, teddy.service",
        "from teddy import cli; cli.run(['--help'])",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    assert heavy_after(statement) == set()


@pytest.mark.parametrize(
    "command",
    [
        "tag",
        "inspect",
        "init",
        "train",
        "distill",
        "try",
        "search",
        "evaluate",
        "promote",
        "redact",
        "restore",
        "compare",
        "export",
        "check",
        "convert",
        "pretrain",
        "sample",
        "lab",
        "serve",
        "key",
    ],
)
def test_the_help_of_a_command_imports_nothing_that_the_command_needs(command: str) -> None:
    # typer reads options with pydantic, even --help.
    assert heavy_after(f"from teddy import cli; cli.run(['{command}', '--help'])") <= {"pydantic"}


def repository_files() -> list[Path]:
    """Return the files that are, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = {ROOT / name for name in listed.stdout.split("\0") if name}
    return sorted(path for path in paths if path.is_file())


def test_no_file_depends_on_a_place_outside_the_repository() -> None:
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(
            content.decode("utf-8", errors="replace").splitlines(), start=1
        ):
            found += [
                f"{short(path)}:{number}: {what}"
                for what, foreign in FOREIGN.items()
                if foreign.search(line)
            ]
    assert not found, "\n".join(found)
