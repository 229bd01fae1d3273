"""Documents of every format: what is replaced, that nothing else is, and that it comes back."""

import csv
import html
import io
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.errors import FileError
from teddy.model.text.documents import Entity
from teddy.service.redaction.documents import Document, Item, Redacted, redact, restore
from teddy.service.redaction.formats import FORMATS, DocumentError
from teddy.service.redaction.operators import Operator, Policy, check_mark
from teddy.service.redaction.secret import Secret, SecretError

SECRET = Secret((b"k" * 32, b"old" * 12))
WORD = re.compile(r"[^\W\d_]\w*")
NAMES = re.compile(r"\b(Ada Lovelace|Ada|Lovelace|Grace|Oslo|O'Neil|Zoë|AT&T)\b")


def all_names(document: Document) -> list[list[Entity]]:
    """Take the names of NAMES for what they are."""
    labels = {"Oslo": "LOC", "AT&T": "ORG"}
    return [
        [
            Entity(*found.span(), labels.get(found[0], "PER"), 0.9, found[0])
            for found in NAMES.finditer(text)
        ]
        for text in document.texts
    ]


def redacted(
    content: str,
    form: str = "text",
    fields: list[str] | None = None,
    *,
    every: str = "replace",
) -> str:
    named = {"*": Operator.parse(every)}
    policy = Policy(operators=named, secret=SECRET)
    document = Document.read(content, form, fields)
    return redact(document, all_names(document), policy).text


# By hand.


def test_names_are_numbered_by_name_within_a_text() -> None:
    text = "Ada met Grace in Oslo. ada is not a name; Ada Lovelace is, and Grace."
    assert redacted(text) == (
        "<PER_1> met <PER_2> in <LOC_1>. ada is not a name; <PER_3> is, and <PER_2>."
    )


def test_each_label_has_its_operator_and_items_say_where_everything_went() -> None:
    document = Document.read("Ada met Grace in Oslo.", "text")
    operators = {"PER": Operator(name="mask", keep_last=1), "LOC": Operator(name="keep")}
    done = redact(document, all_names(document), Policy(operators=operators))
    assert done == Redacted(
        "██a met ████e in Oslo.",
        [
            Item(start=0, end=3, new_start=0, new_end=3, label="PER", operator="mask", score=0.9),
            Item(start=8, end=13, new_start=8, new_end=13, label="PER", operator="mask", score=0.9),
            Item(
                start=17, end=21, new_start=17, new_end=21, label="LOC", operator="keep", score=0.9
            ),
        ],
    )


@pytest.mark.parametrize(
    ("form", "content", "expected"),
    [
        (
            "json",
            '{"Ada": ["Ada \\u0026 Zo\\u00eb", 1.50, null],\n "x": "AT\\u0026T \\"Oslo\\""}',
            '{"Ada": ["<PER_1> \\u0026 <PER_2>", 1.50, null],\n "x": "<ORG_1> \\"<LOC_1>\\""}',
        ),
        (
            "csv",
            'name;note\r\n"Ada ""A"" Lovelace";in Oslo\r\n"Grace\r\nAda";7\r\n',
            'name;note\r\n"<PER_1> ""A"" <PER_2>";in <LOC_1>\r\n"<PER_3>\r\n<PER_1>";7\r\n',
        ),
        (
            "html",
            "<p title='Ada'>Ada <b>Love</b>lace &amp; Zo&euml;<br>AT&amp;T<script>Ada</script>",
            "<p title='&lt;PER_1&gt;'>&lt;PER_2&gt;<b></b> &amp; &lt;PER_3&gt;<br>"
            "&lt;ORG_1&gt;<script>Ada</script>",
        ),
        (
            "markdown",
            "# Ada\n\n* **Ada** _Lovelace_ in [Oslo](https://Oslo.example/Ada)\n| Ada | Grace |",
            "# \\<PER\\_1\\>\n\n* **\\<PER\\_2\\>**__ in [\\<LOC\\_1\\>]"
            "(https://Oslo.example/Ada)\n| \\<PER\\_1\\> | \\<PER\\_3\\> |",
        ),
    ],
)
def test_a_document_keeps_all_that_is_not_a_name(form: str, content: str, expected: str) -> None:
    assert redacted(content, form) == expected


def test_only_the_keys_or_columns_that_are_named_are_read() -> None:
    content = '{"a": {"b": "Ada", "c": ["Ada", {"d": "Ada"}]}, "b": "Ada"}'
    assert redacted(content, "json", ["b"]) == content.replace('"b": "Ada"', '"b": "<PER_1>"')
    assert redacted(content, "json", ["c"]) == content.replace('["Ada"', '["<PER_1>"')
    table = "Ada,note\nAda,Ada\n"
    assert redacted(table, "csv", ["note"]) == "Ada,note\nAda,<PER_1>\n"
    assert redacted(table, "csv") == "<PER_1>,note\n<PER_1>,<PER_1>\n"
    with pytest.raises(DocumentError, match="no column 'x'"):
        redacted(table, "csv", ["x"])


@pytest.mark.parametrize("content", ["Ada", "{'a': 1}", '{"Ada": }', "[" * 100_000])
def test_what_is_not_json_is_refused_without_its_text(content: str) -> None:
    with pytest.raises(DocumentError, match=r"^The text is not JSON\.$"):
        Document.read(content, "json")


# Nothing breaks.

FRAGMENTS = (
    *("Ada", "Ada Lovelace", "Grace", "Oslo", "O'Neil", "AT&T", "Zoë", " ", "\n", "\r\n", ",", '"'),
    *("\\", "<b>", "</b>", "<", ">", "&", "&amp;", "&#65;", "<!--", "-->", "|", "*", "_", "`", "["),
    *("](", ")", "# ", "\U0001f9f8", "<a title='", "'>", "<PER:", "aaaaaaaa" * 6, "&lt;PER:"),
    *("&gt;", "\\<PER:", "\\>", ";", "\t", "```", "<script>"),
)
FEWER = settings(max_examples=25)
content_of = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=25).map("".join)


def written(content: str, form: str, draw: random.Random) -> str:
    """Return a document of the format that has the text in it."""
    if form == "json":
        return json.dumps({"a": [content, content[::2]]}, ensure_ascii=draw.random() < 0.5)
    if form == "csv":
        stream = io.StringIO()
        csv.writer(stream).writerows([["a", content], [content[::2], "b"]])
        return stream.getvalue()
    return content


def any_entities(document: Document, draw: random.Random) -> list[list[Entity]]:
    return [
        [
            Entity(found.start(), found.end(), draw.choice(["PER", "A_B"]), 0.5, found[0])
            for found in re.finditer(r"\w+(?:.\w+)?|<.{1,60}", text, re.DOTALL)
            if draw.random() < 0.6
        ]
        for text in document.texts
    ]


@pytest.mark.parametrize("form", FORMATS)
@FEWER
@given(content=content_of, seed=st.integers(0, 99))
def test_what_was_encrypted_comes_back_byte_for_byte(form: str, content: str, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    document = Document.read(written(content, form, draw), form)
    policy = Policy(operators={"*": Operator(name="encrypt")}, secret=SECRET)
    for _ in range(2):  # a document with tokens in it can be redacted again
        once = redact(document, any_entities(document, draw), policy)
        assert restore(once.text, form, SECRET).text == document.content
        document = Document.read(once.text, form)


@pytest.mark.parametrize("form", FORMATS)
@FEWER
@given(content=content_of, seed=st.integers(0, 99))
def test_items_say_what_was_replaced_and_the_rest_is_untouched(
    form: str, content: str, seed: int
) -> None:
    draw = random.Random(seed)  # noqa: S311
    document = Document.read(written(content, form, draw), form)
    done = redact(document, any_entities(document, draw), Policy())
    old = new = 0
    for item in done.items:
        assert done.text[new : item.new_start] == document.content[old : item.start]
        assert item.new_start < item.new_end
        old, new = item.end, item.new_end
    assert done.text[new:] == document.content[old:]


class Tags(HTMLParser):
    def __init__(self, content: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(f"{tag} {[name for name, _ in attrs]}")

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(f"/{tag}")


@given(
    st.lists(
        st.sampled_from(
            [
                "Ada",
                "Grace ",
                "<b>",
                "</b>",
                "<p class='x'>",
                "</p>",
                "<i>Oslo</i>",
                "&lt;Ada&gt;",
                '<img alt="Ada">',
                "Zo&euml;",
                "AT&amp;T ",
                "<br>",
                "<!-- Ada -->",
            ]
        ),
        max_size=15,
    ),
    st.sampled_from(["replace", "mask", "pseudonym", "encrypt", "hash"]),
)
def test_html_keeps_its_tags_json_its_shape_and_csv_its_cells(
    parts: list[str], operator: str
) -> None:
    content = "".join(parts)
    done = redacted(content, "html", every=operator)
    assert Tags(done).seen == Tags(content).seen
    plain = html.unescape(re.sub(r"<[^>]*>", "", content))
    value = json.dumps({"k": [plain, 1, {"k": plain}]})
    shape = json.loads(redacted(value, "json", every=operator))
    assert [type(each) for each in shape["k"]] == [str, int, dict]
    stream = io.StringIO()
    csv.writer(stream).writerows([["k", plain], [plain, "2"]])
    rows = list(csv.reader(io.StringIO(redacted(stream.getvalue(), "csv", every=operator))))
    assert [len(row) for row in rows] == [2, 2]
    assert (rows[0][0], rows[1][1]) == ("k", "2")
    assert not any(re.search(r"\bAda\b", cell) for row in rows for cell in row)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("part", ["<a ", "<!--", "](", "<a b='", "&lt;PER:a", "\\<PER:", '"', "|"])
def test_hostile_documents_take_linear_time(form: str, part: str) -> None:
    content = part * 10_000
    if form == "json":
        content = json.dumps(content)
    Document.read(content, form)
    restore(content, form, SECRET)


# Operators.


def test_under_a_key_names_are_consistent_everywhere_and_without_one_within_a_text() -> None:
    document = Document.read("Ada Lovelace met Grace. Lovelace left.", "text")

    def done(scope: str, operator: str, secret: Secret | None) -> str:
        policy = Policy(
            operators={"*": Operator.parse(operator)},
            scope=scope,  # type: ignore[arg-type]
            secret=secret,
        )
        return redact(document, all_names(document), policy).text

    for operator in ("replace", "pseudonym", "hash"):
        other = Secret((b"o" * 32,))
        assert done("key", operator, SECRET) == done("key", operator, SECRET)
        assert done("key", operator, SECRET) != done("key", operator, other)
    assert done("text", "replace", None) == "<PER_1> met <PER_2>. <PER_3> left."
    first = done("text", "pseudonym", None)
    assert any(done("text", "pseudonym", None) != first for _ in range(9))


def test_a_pseudonym_has_as_many_words_and_a_family_keeps_its_name() -> None:
    found = redacted("Ada Lovelace met Grace. Lovelace left Oslo for AT&T.", every="pseudonym")
    match = re.fullmatch(r"(\w+) (\w+) met (\w+)\. (\w+) left (\w+) for ([\w&]+)\.", found)
    assert match
    given_name, family, grace, again, *_ = match.groups()
    assert family == again
    assert not {"Ada", "Lovelace", "Grace", "Oslo"} & {given_name, family, grace, match[5]}


def test_one_name_has_one_hash_however_it_is_spaced_and_cased() -> None:
    assert SECRET.digest("x") != Secret((b"o" * 32,)).digest("x")
    first = redacted("Ada Lovelace", every="hash")
    assert re.fullmatch(r"[0-9a-f]{32}", first)
    policy = Policy(operators={"*": Operator(name="hash")}, secret=SECRET)
    document = Document.read("ADA\n LOVELACE", "text")
    entity = Entity(0, 13, "PER", 1.0, document.content)
    assert redact(document, [[entity]], policy).text == first


def test_every_key_of_a_file_restores_and_no_other_one_does() -> None:
    document = Document.read("Ada", "text")
    old = Secret((b"old" * 12,))
    policy = Policy(operators={"PER": Operator(name="encrypt")}, secret=old)
    done = redact(document, all_names(document), policy).text
    assert restore(done, "text", SECRET).text == "Ada"
    other = restore(done, "text", Secret((b"o" * 32,)))
    assert (other.text, other.restored, other.unreadable) == (done, 0, 1)
    tampered = done.replace("<PER", "<ORG")
    assert restore(tampered, "text", SECRET).unreadable == 1


@pytest.mark.parametrize("operator", ["hash", "encrypt"])
def test_what_needs_a_key_is_refused_without_one(operator: str) -> None:
    with pytest.raises(SecretError, match=f"{operator} needs a key"):
        Policy(operators={"PER": Operator.parse(operator)})
    with pytest.raises(SecretError, match="scope key needs a key"):
        Policy(scope="key")


@pytest.mark.parametrize("text", ["shred", "mask:XX", "mask:,", "mask:*:x", "hash:1", "mask:X:1:2"])
def test_an_unknown_operator_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"operator|mark|number"):
        Operator.parse(text)
    with pytest.raises(ValueError, match="a mark is"):
        check_mark("<")


def test_a_key_is_read_from_a_file_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("s3cr3t" * 6 + "\n\n" + "t" * 40 + "\n")
    secret = Secret.read(file)
    assert secret
    assert "s3cr3t" not in f"{secret!r} {secret}"
    assert "s3cr3t" not in repr(Policy(secret=secret))
    for content in ("", "s3cr3t\n", "s3cr3t" * 6 + "\nshort"):
        file.write_text(content)
        with pytest.raises(SecretError) as raised:
            Secret.read(file)
        assert "s3cr3t" not in str(raised.value)
    with pytest.raises(FileError, match="the key cannot be read"):
        Secret.read(tmp_path / "none")
    assert Secret.read(None) is None
    assert Secret.read(None, "s" * 32) == Secret((b"s" * 32,))
