"""What is made in the documentation is as its makers make it, and every link leads somewhere."""

from pathlib import Path

import pytest

from docs.__main__ import DOCS, MAKERS, REGION, remade, settings_table
from teddy.service.settings import Settings

PAGES = sorted(DOCS.glob("*.md"))


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
