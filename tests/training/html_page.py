"""A page as a strict reader sees it: its elements, and what it would fetch, run and refer to."""

import re
from html.parser import HTMLParser
from typing import Self

VOID = {"meta", "br", "hr", "img", "input", "link", "path", "use"}


class Page(HTMLParser):
    """`text` is all that can be read, `marks` are the marked stretches with their classes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.marks: list[tuple[str, str]] = []

    @classmethod
    def read(cls, html: str) -> Self:
        page = cls()
        page.feed(html)
        page.close()
        assert page.open == []
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "mark":
            self.marks.append((self.elements[-1][1]["class"], ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "mark" in self.open:
            name, text = self.marks[-1]
            self.marks[-1] = (name, text + data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def assert_is_whole_and_alone(html: str) -> Page:
    """Assert that the page needs and runs nothing else, and its tables can be read aloud."""
    page = Page.read(html)
    assert {"script", "iframe", "object", "link", "base", "form"}.isdisjoint(
        tag for tag, _ in page.elements
    )
    references = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset")
    ]
    references += re.findall(r"url\(\s*[\"']?([^)\"']+)", html)
    assert [each for each in references if not each.startswith(("#", "data:"))] == []
    assert not re.search(r"@import|javascript:|\bon\w+=", re.sub(r">[^<]*<", "><", html))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {each[1:] for each in references if each.startswith("#")} <= set(ids)
    assert len(page.all("table")) == len(page.all("caption"))
    assert all("scope" in attributes for attributes in page.all("th"))
    assert all(attributes.get("aria-label") for attributes in page.all("figure"))
    return page
