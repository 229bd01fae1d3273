"""Make anew what is made in the documentation: `make docs`.

A page is written by hand but for regions that are made, each under the name of its maker:

    <!-- made by `make docs`: settings -->
    ...
    <!-- end -->
"""

import re
from collections.abc import Callable
from pathlib import Path

from teddy.service.observability import catalogue as service_catalogue
from teddy.service.settings import PREFIX, Settings
from teddy.training.job import catalogue as job_catalogue

DOCS = Path(__file__).parent
REGION = re.compile(r"(<!-- made by `make docs`: ([^\n]+) -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def settings_table() -> str:
    """Return every setting of the service, with its default and what it sets."""
    rows = ["| Variable | Default | What it sets |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default in ({}, (), None) else f"`{default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


MAKERS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "metrics of the service": service_catalogue.metrics_table,
    "metrics of a training job": job_catalogue.metrics_table,
}


def remade(page: str) -> str:
    """Return a page with its made regions anew. Raises KeyError for a region without a maker."""
    return REGION.sub(lambda match: f"{match[1]}\n{MAKERS[match[2]]()}\n", page)


def main() -> None:
    """Make every page anew."""
    for path in DOCS.glob("*.md"):
        page = path.read_text(encoding="utf-8")
        if remade(page) != page:
            path.write_text(remade(page), encoding="utf-8")
            print(f"made docs/{path.name}")


if __name__ == "__main__":
    main()
