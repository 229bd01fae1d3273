"""The page at `/` in a real Chromium, driven by Playwright; axe-core looks for barriers."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from teddy.model.text.documents import Entity
from teddy.model.text.marks import mark
from tests.service.conftest import (
    FakeDocument,
    FakeEntity,
    FakePredictor,
    FakeTagged,
    FakeToken,
    quoted,
)
from tests.service.live import listening

NEEDED = "TEDDY_NEED_CHROMIUM"
"""In the environment where everything must be tested: then a missing browser is a failure."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if not CHROMIUM and NEEDED not in os.environ:
    pytest.skip("no chromium here: apt-get install chromium", allow_module_level=True)

from axe_playwright_python.sync_playwright import Axe  # noqa: E402 (after the reason for a skip)
from playwright.sync_api import (  # noqa: E402
    Browser,
    BrowserContext,
    Page,
    Request,
    Route,
    ViewportSize,
    expect,
    sync_playwright,
)

KEY = "a-key-of-16-letters"
PATIENCE = 60_000  # milliseconds: of a shared machine
WIDE = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=320, height=640)
HOSTILE = (
    '<script>window.harmed = 1</script><img src=x onerror="window.harmed=1">'
    "</textarea></mark><style>*{display:none}</style>{{7*7}} ${harmed=1} javascript:harmed=1 "
    "\u202eOVERRIDDEN\u2066 \u202bembedded Z\u0301\u0302\u0303algo \U0001f9f8Bear " + "W" * 500
)

Served = Callable[..., AbstractContextManager[str]]
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )


@pytest.fixture
def contexts() -> list[BrowserContext]:
    """The windows that are open."""
    return []


@pytest.fixture
def served(predictor: FakePredictor, contexts: list[BrowserContext]) -> Iterator[Served]:
    """Serve the predictor in another thread, for the browser in this one.

    The windows are closed before the server: their last request would be refused while it ends.
    """
    with start_blocking_portal() as portal:

        @contextmanager
        def serve(model: Any = predictor, **settings: Any) -> Iterator[str]:
            live = portal.wrap_async_context_manager(listening(model, **settings))
            with live as server:
                yield server.url
                while contexts:
                    contexts.pop().close()

        yield serve


@pytest.fixture
def opened(browser: Browser, contexts: list[BrowserContext]) -> Iterator[Open]:
    """Open an address in a browser of its own; nothing may fail in it or leave its server."""
    wrong: list[str] = []

    def check_origin(request: Request, url: str) -> None:
        if not request.url.startswith(url):
            wrong.append(f"asked for {request.url}")

    def open_page(url: str, path: str = "/", *, fails: bool = False, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: check_origin(request, url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        if not fails:
            page.on("console", lambda message: wrong.append(message.text))
        page.goto(f"{url}{path}")
        return page

    expect.set_options(timeout=PATIENCE)
    yield open_page
    while contexts:
        contexts.pop().close()
    assert wrong == []


def write(page: Page, text: str) -> None:
    """Write a text as if it were pasted, and wait for its answer."""
    page.fill("#text", text)
    expect(page.locator("#copy-html")).to_be_enabled()


def read(page: Page) -> str:
    """Return the marked text as it is in the page: without labels, which the style sheet adds."""
    text = page.evaluate("document.getElementById('reading').textContent")
    assert isinstance(text, str)
    return text


def marks(page: Page) -> list[tuple[str, str]]:
    found = page.evaluate(
        "[...document.querySelectorAll('.entity')].map(m => [m.textContent, m.dataset.label])"
    )
    return [(text, label) for text, label in found]


def check_barriers(page: Page) -> None:
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    found = page.evaluate(
        """async () => (await axe.run({ resultTypes: ['violations'] })).violations.map(
            ({ id, nodes }) => [id, nodes[0].html, nodes[0].failureSummary])"""
    )
    assert found == []


def check_layout(page: Page) -> None:
    """Nothing is wider than the window, and nothing of the text lies outside its card."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    within = """() => {
        const card = document.getElementById('reading').parentElement.getBoundingClientRect();
        return [...document.querySelectorAll('.entity')].slice(0, 200).every((mark) =>
            [...mark.getClientRects()].every((r) => r.left >= card.left && r.right <= card.right));
    }"""
    assert page.evaluate(within)


def test_entities_are_marked_as_one_types_and_filtered_and_the_answer_is_that_of_the_call(
    served: Served, opened: Open
) -> None:
    with served() as url:
        page = opened(url)
        expect(page.locator(".entity").first).to_be_visible()
        page.fill("#text", "")
        page.type("#text", "ada Met \U0001f9f8 Extraordinaries\n at Noon", delay=5)
        expect(page.locator("#status")).to_have_text("3 entities")
        expected = [("Met", "UPPER"), ("Extraordinaries", "LONG"), ("Noon", "UPPER")]
        assert marks(page) == expected
        assert read(page) == page.input_value("#text")
        page.click("#labels >> text=UPPER")
        assert marks(page) == expected[1:2]
        page.click("#labels >> text=UPPER")
        page.fill("#least", "0.5")
        assert [label for _, label in marks(page)] == ["UPPER"] * 2
        expect(page.locator("#status")).to_have_text("2 entities, 1 filtered out")
        body = {"text": page.input_value("#text"), "min_score": 0.5}
        answer = httpx.post(f"{url}/v1/entities", json=body).json()
        assert json.loads(page.inner_text("#answer")) == answer
        assert page.evaluate("document.querySelectorAll('script:not([src]), style').length") == 0


def test_the_calls_that_are_shown_give_the_answer_beside_them(served: Served, opened: Open) -> None:
    with served(api_keys=KEY) as url:
        page = opened(url)
        page.fill("#key", KEY)
        page.click("#key-form button")
        expect(page.locator(".entity").first).to_be_visible()
        write(page, "It's \"Ada\" \\ $HOME `id` \u202e\U0001f9f8\u2028 Oslo'\nEnd")
        n_of_best_reading = len(marks(page))
        page.fill("#threshold", "0.1")
        expect(page.locator("#copy-html")).to_be_enabled()
        assert len(marks(page)) > n_of_best_reading
        page.click("#labels >> text=UPPER")
        page.fill("#least", "0.15")
        assert marks(page), "what only the threshold gives"
        answer = json.loads(page.inner_text("#answer"))
        environment = os.environ | {"KEY": KEY}
        curl = page.inner_text("#call")
        assert KEY not in curl
        assert '"threshold":0.1' in curl
        run = subprocess.run(["sh", "-c", curl], env=environment, capture_output=True, check=True)
        assert json.loads(run.stdout) == answer
        page.click("text=Python")
        command = [sys.executable, "-c", page.inner_text("#call")]
        run = subprocess.run(command, env=environment, capture_output=True, check=True)
        printed = [line.split(maxsplit=4)[-1] for line in run.stdout.decode().splitlines()]
        assert printed == [entity["text"] for entity in answer["entities"]]
        page.click("text=JavaScript")
        script = page.inner_text("#call").replace("await fetch", "await globalThis.fetch")
        found = page.evaluate(f"async (key) => {{ {script}; return entities; }}", KEY)
        text = page.input_value("#text").encode("utf-16-le")
        assert [
            text[2 * each["start"] : 2 * each["end"]].decode("utf-16-le") for each in found
        ] == [each["text"] for each in answer["entities"]]


def test_an_older_answer_never_replaces_a_newer_one(served: Served, opened: Open) -> None:
    with served() as url:
        page = opened(url)
        expect(page.locator(".entity").first).to_be_visible()
        held: list[Route] = []
        page.route("**/v1/entities", lambda route: held.append(route))
        for n, text in enumerate(("One", "One Two", "One Two Three"), start=1):
            page.fill("#text", text)
            while len(held) < n:
                page.wait_for_timeout(10)
        for route in reversed(held):  # the newest is answered first
            route.continue_()
        expect(page.locator("#status")).to_have_text("3 entities")
        results = page.evaluate(
            """async () => {
                const script = document.querySelector('script').src;
                const { Newest } = await import(new URL('api.js', script).href);
                const newest = new Newest(), ends = [], results = [];
                const works = [0, 1, 2].map((i) =>
                    newest.run(() => new Promise((end) => ends.push(() => end(i)))));
                for (const end of ends.reverse()) end();
                return Promise.all(works);
            }"""
        )
        assert results == [None, None, 2]
        assert marks(page) == [("One", "UPPER"), ("Two", "UPPER"), ("Three", "UPPER")]


def test_a_correction_is_made_by_selecting_and_stored(
    served: Served, opened: Open, tmp_path: Path
) -> None:
    with served(feedback_dir=tmp_path) as url:
        page = opened(url)
        write(page, "\U0001f9f8 Ada met grace in Oslo")
        expect(page.locator("#correct")).to_be_visible()
        page.fill("#least", "0.95")
        assert marks(page) == []
        page.click("#correct")
        assert len(marks(page)) == 2, "all are shown, because all are sent"
        page.focus("#text")
        page.evaluate("document.getElementById('text').setSelectionRange(11, 17)")  # " grace"
        expect(page.locator("#stretch")).to_contain_text("“grace” is")
        page.click("#correction-labels >> text=LONG")
        page.click(".entity >> nth=0")
        page.click("text=Not an entity")
        check_barriers(page)
        page.evaluate(
            """() => {
                const end = document.querySelector('#reading').lastChild.lastChild;
                const range = document.createRange();
                range.setStart(end.firstChild ?? end, 0);
                range.setEnd(end.firstChild ?? end, 2);
                document.getElementById('text').blur();
                getSelection().removeAllRanges();
                getSelection().addRange(range);
            }"""
        )
        expect(page.locator("#stretch")).to_contain_text("“Os” is")
        page.click("#correction-labels >> text=UPPER")
        expect(page.locator("#stretch")).to_contain_text("4 changes")
        page.click("#send")
        expect(page.locator("#status")).to_contain_text("Thank you")
    (stored,) = tmp_path.glob("*.jsonl")
    row = json.loads(stored.read_text(encoding="utf-8"))
    assert [(row["text"][e["start"] : e["end"]], e["label"]) for e in row["entities"]] == [
        ("grace", "LONG"),
        ("Os", "UPPER"),
    ]


def test_a_key_is_asked_for_and_kept_in_memory_alone(served: Served, opened: Open) -> None:
    with served(api_keys=KEY) as url:
        page = opened(url, fails=True)
        expect(page.locator("#key-form")).to_be_visible()
        assert page.evaluate("document.activeElement.id") == "key"
        check_barriers(page)
        page.fill("#key", "a-wrong-key-of-letters")
        page.press("#key", "Enter")
        expect(page.locator("#problem")).to_have_text("This API key is not known here.")
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        expect(page.locator(".entity").first).to_be_visible()
        expect(page.locator("#key-form")).to_be_hidden()
        expect(page.locator("#problem")).to_be_hidden()
        stored = page.evaluate(
            "localStorage.length + sessionStorage.length + document.cookie.length"
        )
        assert stored == 0
        assert KEY not in page.content()
        assert KEY not in page.url
        assert page.input_value("#key") == ""
        page.reload()
        expect(page.locator("#key-form")).to_be_visible()


def test_the_page_works_under_a_prefix(served: Served, opened: Open) -> None:
    with served(root_path="/behind/me") as url:
        for path in ("/behind/me/", "/behind/me"):
            page = opened(url, path)
            expect(page.locator(".entity").first).to_be_visible()
            assert f"{url}/behind/me/v1/entities" in page.inner_text("#call")
            assert page.get_attribute("#docs", "href") == f"{url}/behind/me/docs"


def test_a_page_without_its_server_says_so_and_goes_on_when_it_is_back(
    served: Served, opened: Open
) -> None:
    with served() as url:
        page = opened(url, fails=True)
        expect(page.locator(".entity").first).to_be_visible()
        page.context.set_offline(True)
        page.fill("#text", "Nobody Answers")
        expect(page.locator("#problem")).to_contain_text("cannot be reached")
        assert read(page) == "Nobody Answers"
        check_barriers(page)
        page.context.set_offline(False)
        expect(page.locator("#status")).to_have_text("2 entities")
        expect(page.locator("#problem")).to_be_hidden()


def test_a_text_of_a_megabyte_is_read_to_its_end(
    served: Served, opened: Open, tmp_path: Path
) -> None:
    line = "nothing to be found here but for one Name in each of all lines\n"
    text = (line * 17_000)[: 2**20 - 4] + " End"
    long = tmp_path / "long.txt"
    long.write_text(text)
    n = text.count("Name") + 1
    with served() as url:
        page = opened(url)
        page.set_input_files("#files", long)
        expect(page.locator("#status")).to_have_text(f"{n:,} entities")
        assert page.evaluate("document.querySelector('#reading').textContent.length") == len(text)
        last = "[...document.getElementsByClassName('entity')].at(-1).textContent"
        assert page.evaluate(last) == "End"
        assert "text.txt" in page.inner_text("#call")
        assert f"{n - 300:,} more" in page.inner_text("#answer")
        check_layout(page)


class HostilePredictor(FakePredictor):
    """Finds labels that are made to do harm."""

    @staticmethod
    def tag(word: str) -> str:
        bad = '<img src=x onerror="window.harmed=1">'
        return "O" if word == word.lower() else f"S-{bad if len(word) > 10 else 'UPPER'}"

    def assemble(self, document: FakeDocument, outputs: Sequence[list[str]]) -> FakeTagged:
        tags = [tag for output in outputs for tag in output]
        places = [(*place, tag) for place, tag in zip(document.offsets, tags, strict=True)]
        text = quoted(document.text)
        entities = [
            FakeEntity(start, end, tag[2:], 0.5, text[start:end])
            for start, end, tag in places
            if tag != "O"
        ]
        return FakeTagged(entities, [FakeToken(*place, 1.0) for place in places])


def test_hostile_texts_and_labels_run_nothing_and_break_nothing(
    served: Served, opened: Open
) -> None:
    with served(HostilePredictor()) as url:
        page = opened(url)
        write(page, HOSTILE)
        assert read(page) == HOSTILE
        expect(page.locator(".entity").first).to_be_visible()
        page.hover(".entity >> nth=0")
        check_layout(page)
        page.set_viewport_size(PHONE)
        check_layout(page)
        check_barriers(page)
        many = " ".join(["\u202eMany"] * 10_000)
        write(page, many)
        expect(page.locator("#status")).to_have_text("10,000 entities")
        assert read(page) == many
        check_layout(page)
        page.set_viewport_size(WIDE)
        check_layout(page)
        assert page.evaluate("window.harmed") is None
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0


def test_there_is_no_barrier_for_keyboard_and_screen_reader(
    served: Served, opened: Open, tmp_path: Path
) -> None:
    with served(feedback_dir=tmp_path) as url:
        page = opened(url)
        write(page, "Ada met Grace\nשלום Oslo")  # noqa: RUF001
        page.focus("#threshold")
        assert page.get_attribute("#threshold", "aria-valuetext") == "off: the best reading"
        page.keyboard.press("ArrowRight")
        assert page.get_attribute("#threshold", "aria-valuetext") == "0.01"
        expect(page.locator("#status")).to_have_text("5 entities")
        page.keyboard.press("Home")
        expect(page.locator("#status")).to_have_text("3 entities")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "least"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "reading"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.textContent") == "Grace"
        expect(page.locator("#tip")).to_contain_text("0.900")
        expect(page.locator("#tip")).to_contain_text("no entity")  # another reading
        assert page.get_attribute(".entity:focus", "aria-describedby") == "tip"
        check_barriers(page)
        page.emulate_media(color_scheme="dark")
        check_barriers(page)
        page.keyboard.press("Escape")
        expect(page.locator("#tip")).to_be_hidden()
        page.set_viewport_size(PHONE)
        check_layout(page)
        check_barriers(page)


def test_reasons_are_a_heat_map_over_the_words(served: Served, opened: Open) -> None:
    """Of an answer that is given here, so that its numbers are known."""
    words = [(0, 2, "he"), (3, 8, "Teddy"), (9, 14, "bears")]
    answer = {
        "entities": [
            {
                **{"start": 3, "end": 8, "text": "Teddy", "label": "UPPER", "sentence": 0},
                **{"source": None, "gives": [0.004, 0.5, -0.25], "probability": 0.125},
                **{"left_only": 0.64, "right_only": None, "alone": 1.0},
            }
        ],
        "sentences": [
            {
                "words": [
                    {"start": s, "end": e, "text": t, "known": t != "he"} for s, e, t in words
                ],
                "readings": [{"probability": 0.8, "entities": []}],
            }
        ],
    }
    asked: list[Any] = []

    def reply(route: Route) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(json=answer)

    found = {"start": 3, "end": 8, "label": "UPPER", "score": 1.0, "text": "Teddy"}
    ruled = {**found, "source": "<b>rule", "id": "Q33"}
    with served() as url:
        page = opened(url, fails=True)
        page.route(
            "**/v1/entities",
            lambda route: route.fulfill(
                json={"model": {"name": "", "version": ""}, "entities": [ruled]}
            ),
        )
        write(page, "he Teddy bears")
        page.evaluate("document.documentElement.dataset.explain = 'true'")
        page.route("**/v1/explain", reply)
        page.hover(".entity")
        tip = page.inner_text("#tip").split("\n")
        assert tip == ["label", "UPPER", "score", "1.000", "source", "<b>rule", "id", "Q33"]
        page.click(".entity")
        expect(page.locator("#reasons-title")).to_have_text("Why “Teddy” is UPPER, or not")
        given = [each.split() for each in page.locator(".words li").all_inner_texts()]
        assert given == [["he"], ["Teddy", "+50"], ["bears", "−25"]]  # noqa: RUF001
        classes = page.locator(".words li").evaluate_all("all => all.map((each) => each.className)")
        assert classes == ["for", "for", "against"]
        bars = page.inner_text(".bars").split("\n")
        assert [each for each in bars if "%" in each] == ["13 %", "64 %", "100 %"]
        assert "<b>rule" in bars
        assert "80 % no entities" in page.inner_text(".readings")
        check_barriers(page)
        with page.expect_response("**/v1/explain"):
            page.click("#reasons-labels >> text=LONG")
        spans = [(each["spans"], each["offset_unit"]) for each in asked]
        assert spans == [
            ([{"start": 3, "end": 8, "label": label}], "utf16") for label in ("UPPER", "LONG")
        ]
        page.fill("#text", "or Teddy")
        expect(page.locator("#reasons")).to_be_hidden()
        expect(page.locator("#copy-html")).to_be_enabled()
        page.route("**/v1/explain", lambda route: route.fulfill(status=422, json={}))
        page.click(".entity")
        expect(page.locator("#reasons-body")).to_contain_text("Found by <b>rule. The model cannot")
        expect(page.locator("#problem")).to_be_hidden()


def test_files_are_read_and_what_is_no_text_is_refused(
    served: Served, opened: Open, tmp_path: Path
) -> None:
    one, other, wrong = (tmp_path / name for name in ("one.txt", "other.md", "wrong.txt"))
    one.write_bytes("\ufeffAda\r\nmet".encode())
    other.write_bytes("Grace".encode("utf-16"))
    wrong.write_bytes(b"\xff\xfa")
    with served(max_text_characters=50) as url:
        page = opened(url)
        page.set_input_files("#files", [one, other])
        expect(page.locator("#text")).to_have_value("Ada\nmet\n\nGrace")
        expect(page.locator("#status")).to_have_text("2 entities")
        page.set_input_files("#files", wrong)
        expect(page.locator("#problem")).to_have_text("wrong.txt is not a text in UTF-8.")
        page.evaluate(
            """() => {
                const data = new DataTransfer();
                data.items.add(new File(["Dropped"], "a.txt"));
                for (const name of ["dragover", "drop"]) {
                    window.dispatchEvent(new DragEvent(name, { dataTransfer: data }));
                }
            }"""
        )
        expect(page.locator("#text")).to_have_value("Dropped")
        wrong.write_text("Long" * 13)
        page.set_input_files("#files", wrong)
        expect(page.locator("#problem")).to_contain_text(
            "52 characters; the service takes at most 50"
        )
        wrong.write_text("Long" * 99)
        page.set_input_files("#files", wrong)
        expect(page.locator("#problem")).to_contain_text("That is too much")


def test_the_html_that_is_copied_is_that_of_python(served: Served, opened: Open) -> None:
    draw = random.Random(7)  # noqa: S311
    cases, wanted = [], []
    for _ in range(300):
        text = "".join(draw.choices("ab <&>'\"\r\n\u202e\u05d0\0\U0001f9f8", k=draw.randrange(40)))
        places = sorted(draw.sample(range(len(text) + 1), k=min(len(text) + 1, 4)))
        entities = [
            Entity(start, end, draw.choice(["PER", "gpe", "é<b>", "x" * 9]), score, "")
            for start, end in zip(places[::2], places[1::2], strict=False)
            for score in [draw.choice([0.0, 0.0625, 1.0, draw.random()])]
        ]
        fields = [{k: getattr(e, k) for k in ("start", "end", "label", "score")} for e in entities]
        cases.append([text, fields])
        wanted.append(mark(text, entities))
    with served() as url:
        page = opened(url)
        made = page.evaluate(
            """async (cases) => {
                const at = (name) => new URL(name, document.querySelector('script').src).href;
                const { toHtml } = await import(at('marks.js'));
                const { inUnits } = await import(at('offsets.js'));
                return cases.map(([text, entities]) => toHtml(text, inUnits(text, entities)));
            }""",
            cases,
        )
        page.context.grant_permissions(["clipboard-read"])
        write(page, "<b>Ada")
        page.click("#copy-html")
        expect(page.locator("#status")).to_have_text("Copied.")
        copied = page.evaluate(
            """async () => {
                const [item] = await navigator.clipboard.read();
                return [item.types, await (await item.getType('text/plain')).text()];
            }"""
        )
    assert made == wanted
    html = mark("<b>Ada", [Entity(0, 6, "UPPER", 0.9, "<b>Ada")])
    assert copied == [["text/plain", "text/html"], html]
