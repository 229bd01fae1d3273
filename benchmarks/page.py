"""Open the page of a real `teddy serve` in Chromium: how soon it shows entities, and its pictures.

    python -m benchmarks.page [--url URL] [--pictures FOLDER] [--times 5]

Needs Debian's chromium. `--pictures docs` makes the picture of the README again."""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXAMPLE = "A letter"
TYPED = " She saw Anna Berg of Siemens in Oslo"
SHAPES: dict[str, dict[str, object]] = {
    "page": {"viewport": {"width": 1280, "height": 600}},
    "page-dark": {"viewport": {"width": 1280, "height": 600}, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 380, "height": 780}, "device_scale_factor": 2},
}
IN_THE_README = ("page",)


def main() -> None:
    """Measure, and take pictures if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", help="A Teddy that serves already.")
    parser.add_argument("--pictures", type=Path, help="A folder for the pictures.")
    parser.add_argument("--times", type=int, default=5, help="How often the page is opened.")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with served(arguments.url) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        if arguments.pictures:
            for name, options in SHAPES.items():
                if name in IN_THE_README or arguments.pictures.name != "docs":
                    take_picture(browser, url, arguments.pictures / f"{name}.png", options)
        else:
            measure(browser, url, arguments.times)


@contextmanager
def served(url: str | None) -> Iterator[str]:
    """Give the address of a Teddy that is ready: the given one, or one that is started here."""
    if url is not None:
        yield url
        return
    from benchmarks.load.server import Server

    with tempfile.TemporaryDirectory() as folder, Server.teddy(Path(folder) / "log") as server:
        asyncio.run(server.ready())
        yield f"http://127.0.0.1:{server.port}/"


def open_page(browser: "Browser", url: str, **options: object) -> "Page":
    """Open the page in a context of its own, so that nothing is cached."""
    page: Page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.goto(url)
    page.wait_for_selector(".entity")
    return page


def measure(browser: "Browser", url: str, times: int) -> None:
    """Print how long it takes from asking for the page to its first entities, and from a key."""
    opened = []
    for _ in range(times):
        started = time.perf_counter()
        page = open_page(browser, url)
        opened.append(time.perf_counter() - started)
        page.context.close()
    page = open_page(browser, url)
    answered = []
    for character in TYPED:
        page.focus("#text")
        page.keyboard.press("End")
        started = time.perf_counter()
        with page.expect_response("**/v1/entities"):
            page.keyboard.type(character)
        answered.append(time.perf_counter() - started)
    for name, seconds in (("open to first entities", opened), ("key to answer", answered)):
        print(
            f"{name}: median {statistics.median(seconds):.3f} s, most {max(seconds):.3f} s "
            f"of {len(seconds)}"
        )


def take_picture(browser: "Browser", url: str, path: Path, options: dict[str, object]) -> None:
    """Write a picture of the page with an example, as a person sees it."""
    page = open_page(browser, url, **options)
    page.click(f"text={EXAMPLE}")
    page.wait_for_selector("#copy-html:enabled")
    page.hover(".entity >> nth=3")
    page.screenshot(path=path)
    page.context.close()
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
