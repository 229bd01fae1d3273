"""The page at `/` as it is served; tests/service/test_page_browser.py opens it in a browser."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from teddy.model.text.marks import COLOURS, PALETTE, WEAKEST, ground_of
from teddy.service.page.page_routes import FOLDER, MEDIA_TYPES
from teddy.service.settings import Settings
from tests.service.live import listening
from tests.service.test_problems import check_problem

pytestmark = pytest.mark.anyio

MOST_BYTES = 100_000
KEY = "a-key-of-16-letters"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".html", *MEDIA_TYPES})
SCRIPTS = [path for path in FILES if path.suffix == ".js"]


class Elements(HTMLParser):
    """Every element of a page with its attributes, and what stands within scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style"):
            self.inline += data.strip()

    @property
    def addresses(self) -> list[str]:
        return [
            value
            for _, attributes in self.found
            for name, value in attributes.items()
            if name in ("src", "href") and value
        ]


async def test_a_page_has_nothing_inline_and_its_policy_allows_nothing_inline(
    serving: Any,
) -> None:
    async with serving() as client:
        page = await client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers.get_list("content-security-policy")
    assert len(policy) == 1
    directives = dict(each.split(maxsplit=1) for each in policy[0].split("; "))
    assert directives == {
        **dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'"),
        **dict.fromkeys(("script-src", "style-src", "img-src", "connect-src"), "'self'"),
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    elements = Elements(page.text)
    names = {name for _, attributes in elements.found for name in attributes}
    assert elements.inline == ""
    assert not {name for name in names if name == "style" or name.startswith("on")}
    assert "@" not in page.text, "every fact is filled in"


async def test_files_are_kept_for_good_and_the_page_is_asked_for_again(serving: Any) -> None:
    async with serving() as client:
        page = await client.get("/")
        addresses = [each for each in Elements(page.text).addresses if each != "docs"]
        assert len(addresses) == 4
        folder = addresses[0].rpartition("/")[0]
        for path in FILES:
            if path.suffix != ".html":
                file = await client.get(f"{folder}/{path.name}")
                assert file.content == path.read_bytes()
                assert file.headers["content-type"].startswith(MEDIA_TYPES[path.suffix])
                assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert page.headers["cache-control"] == "no-cache"
        again = {"If-None-Match": page.headers["etag"]}
        unchanged = await client.get("/", headers=again)
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        for gone in ("/page/0123456789abcdef/app.js", f"{folder}/index.html", f"{folder}/x.js"):
            check_problem(await client.get(gone), 404, "not-found")
        assert (await client.get(f"{folder}/..%2Fapp.py")).status_code == 404


async def test_the_page_needs_no_key_and_everything_that_it_calls_does(serving: Any) -> None:
    async with serving(api_keys=(KEY,)) as client:
        page = await client.get("/")
        (script,) = [each for each in Elements(page.text).addresses if each.endswith("app.js")]
        assert (await client.get(script)).status_code == 200
        assert 'data-key="true"' in page.text
        assert KEY not in page.text
        for path in ("/v1/models", "/page", "/pages", "/v1/page/x/app.js"):
            assert (await client.get(path)).status_code == 401, path
        for path in ("/v1/entities", "/v1/feedback"):
            assert (await client.post(path, json={"text": ""})).status_code == 401, path


async def test_a_page_knows_what_its_service_has(serving: Any, tmp_path: Path) -> None:
    async with serving() as client:
        facts = dict(Elements((await client.get("/")).text).found)["html"]
        assert (facts["data-key"], facts["data-feedback"]) == ("false", "false")
    async with serving(feedback_dir=tmp_path, max_text_characters=99) as client:
        facts = dict(Elements((await client.get("/")).text).found)["html"]
        assert (facts["data-feedback"], facts["data-most"]) == ("true", "99")


async def test_a_page_that_is_off_is_not_there(serving: Any) -> None:
    async with serving(page=False) as client:
        check_problem(await client.get("/"), 404, "not-found")
    assert Settings().page


@pytest.mark.parametrize(
    ("settings", "headers", "path", "root"),
    [
        ({}, {}, "/", "./page/"),
        ({"root_path": "/a/b"}, {}, "/", "/a/b/page/"),
        ({"root_path": "/a/b"}, {}, "/a/b/", "/a/b/page/"),
        ({"root_path": "/a/b"}, {}, "/a/b", "/a/b/page/"),
        ({"trusted_proxies": ("127.0.0.1",)}, {"X-Forwarded-Prefix": "/c"}, "/", "/c/page/"),
        ({}, {"X-Forwarded-Prefix": "/evil"}, "/", "./page/"),
    ],
)
async def test_a_page_finds_its_files_under_any_prefix(
    predictor: Any, settings: dict[str, Any], headers: dict[str, str], path: str, root: str
) -> None:
    async with (
        listening(predictor, **settings) as live,
        httpx.AsyncClient(base_url=live.url) as client,
    ):
        page = await client.get(path, headers=headers)
        assert page.status_code == 200
        script = next(each for each in Elements(page.text).addresses if each.endswith("app.js"))
        assert script.startswith(root)
        at_teddy = script.removeprefix(root.removesuffix("page/")).removeprefix("./")
        assert (await client.get(f"/{at_teddy}", headers=headers)).status_code == 200


def test_the_page_is_small_and_loads_nothing_from_elsewhere() -> None:
    assert sum(path.stat().st_size for path in FILES) < MOST_BYTES
    for path in SCRIPTS:
        code = path.read_text(encoding="utf-8")
        imported = re.findall(r'from "([^"]+)"', code)
        assert all((FOLDER / each).is_file() for each in imported), path.name
        assert "://" not in code, path.name
        forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b|new Function|document\.write"
        assert not re.search(forbidden, code), path.name
        assert not re.search(r"localStorage|sessionStorage|indexedDB|\.cookie\b", code), path.name
        assert max(map(len, code.splitlines())) <= 100, path.name
        assert len(code.splitlines()) <= 350, path.name
    assert not re.search(r"url\(|@import", (FOLDER / "style.css").read_text(encoding="utf-8"))


def grounds_and_inks(mode: str) -> list[tuple[str, str]]:
    """The colours of labels in the style sheet, for a light or a dark page."""
    light, _, dark = (
        (FOLDER / "style.css").read_text(encoding="utf-8").partition("@media (prefers-color-scheme")
    )
    found = re.findall(
        r"\.hue-\d+ \{ --ground: (#\w{6}); --label: (#\w{6}) \}", dark if mode == "dark" else light
    )
    return found


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_colours_are_the_same_everywhere() -> None:
    script = (FOLDER / "marks.js").read_text(encoding="utf-8")
    assert tuple(re.findall(r'\["(#\w{6})", "(#\w{6})"\]', script)) == PALETTE
    assert tuple(grounds_and_inks("light")) == PALETTE
    named = re.search(r"COLOURS = .*?\{(.*?)\}", script, re.DOTALL)
    assert named
    assert {k: int(v) for k, v in re.findall(r"(\w+): (\d+)", named[1])} == COLOURS
    assert f"WEAKEST = {WEAKEST};" in script


@pytest.mark.parametrize("label", ["PER", "ORG", "LOC", "MISC", *map(str, range(40))])
def test_a_label_and_a_text_can_be_read_on_every_mark(label: str) -> None:
    inks = dict(PALETTE)
    for score in (0.0, 0.25, 0.5, 0.75, 1.0):
        ground = ground_of(label, score)
        ink = inks[ground_of(label, 1.0)]
        assert contrast(ground, ink) >= 4.5
        assert contrast(ground, "#22201c") >= 7


@pytest.mark.parametrize("ground_and_ink", grounds_and_inks("dark"))
def test_a_label_and_a_text_can_be_read_in_the_dark(ground_and_ink: tuple[str, str]) -> None:
    ground, ink = ground_and_ink
    assert len(grounds_and_inks("dark")) == len(PALETTE)
    assert contrast(ground, ink) >= 4.5
    assert contrast(ground, "#ebe6de") >= 7
    assert contrast("#1e1d1a", ink) >= 4.5, "the weaker a mark, the nearer its ground is to this"
