"""The documentation: made regions are as their makers make them, and links lead somewhere."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from docs.__main__ import DOCS, MAKERS, RECIPE_TABLES, REGION, keys_of, remade, settings_table
from teddy.service.settings import Settings
from teddy.training.recipe.recipe import Recipe

ROOT = DOCS.parent
PAGES = sorted(DOCS.glob("*.md"))
LINKED = [
    ROOT / "README.md",
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "deploy" / "README.md",
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
RIDDLES = re.compile(
    r"\b(whoever|nobody|somebody|anybody|is told|none at all|who leaves|the way of)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_is_as_make_docs_makes_it(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert page == remade(page)


def test_every_maker_fills_one_region() -> None:
    found = [name for path in PAGES for _, name in REGION.findall(path.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(MAKERS)


def test_every_setting_is_in_the_table_with_its_default_and_what_it_sets() -> None:
    rows = settings_table().splitlines()
    assert len(rows) == 2 + len(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert field.description
        assert any(
            row.startswith(f"| `TEDDY_{name.upper()}` |") and field.description in row
            for row in rows
        )
    assert "| `TEDDY_PORT` | `8000` | Port to listen on; 0 takes a free one. |" in rows


def tables_within(kind: Any) -> Iterator[type]:
    """The classes of a recipe's tables in a type: its own, and those of its keys."""
    if is_table(kind):
        yield kind
        for each in keys_of(kind):
            yield from tables_within(each.type)
    for argument in get_args(kind):
        yield from tables_within(argument)


def is_table(kind: Any) -> bool:
    """Whether a type is a class of Teddy's with keys, not a choice of strings."""
    return (
        isinstance(kind, type)
        and kind.__module__.startswith("teddy.")
        and not issubclass(kind, str)
    )


def test_every_table_of_a_recipe_is_described() -> None:
    assert set(tables_within(Recipe)) == set(RECIPE_TABLES.values())


@pytest.mark.parametrize("name", RECIPE_TABLES)
def test_every_key_of_a_recipe_is_on_its_page_with_its_default_and_its_meaning(name: str) -> None:
    page = (DOCS / "recipes.md").read_text(encoding="utf-8")
    (region,) = re.findall(
        rf"{re.escape(f'<!-- made by `make docs`: keys of {name} -->')}(.*?)<!-- end -->",
        page,
        re.DOTALL,
    )
    rows = [row.split(" | ") for row in region.strip().splitlines()[2:]]
    shown = {row[0].strip("| `"): row[2:] for row in rows}
    keys = list(keys_of(RECIPE_TABLES[name]))
    assert sorted(shown) == sorted(key.name for key in keys)
    for key in keys:
        default, meaning = shown[key.name]
        assert key.meaning in meaning
        assert len(key.meaning) > 3, key.name
        if key.is_required:
            assert default == "required"
        elif key.default is not None and not is_table(type(key.default)):
            assert default == f"`{json.dumps(key.default)}`"


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = {target.partition("#")[0] for target in LINK.findall(index)}
    assert [path.name for path in PAGES if path.name not in {*linked, "README.md"}] == []


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings; no page has one heading twice."""
    found = HEADING.findall(CODE.sub("", path.read_text(encoding="utf-8")))
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in found]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(path: Path) -> None:
    links = LINK.findall(CODE.sub("", path.read_text(encoding="utf-8")))
    lost = []
    for link in links:
        if not re.match(r"[a-z]+:", link):
            file, _, anchor = link.partition("#")
            target = path.parent / file if file else path
            if not target.exists() or (anchor and anchor not in anchors(target)):
                lost.append(link)
    assert lost == []


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_says_things_plainly(path: Path) -> None:
    assert RIDDLES.findall(path.read_text(encoding="utf-8")) == []
