"""The commands `teddy redact` and `teddy restore`: a text, a stream, a file, or many files.

What they need is imported when they run.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import BadParameter, Exit, Option

from teddy.model.commands import ModelOption, PrecisionOption, TextArgument, piped, use_one_thread
from teddy.service.bulk.request import ThresholdOption

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.service.redaction.operators import Operator, Policy
    from teddy.service.redaction.secret import Secret

KEY_VARIABLE = "TEDDY_REDACT_KEY"
STREAM = Path("-")
_ENDINGS = {
    ".txt": "text",
    ".text": "text",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".html": "html",
    ".htm": "html",
    ".md": "markdown",
    ".markdown": "markdown",
}
_BY_LINE = (".jsonl", ".ndjson")

_Input = Annotated[
    list[Path] | None,
    Option("--input", metavar="FILE", help="A file, again and again; - is standard input."),
]
_Output = Annotated[
    Path,
    Option("--output", metavar="FILE", help="Where to write, or - ; a folder for many files."),
]
_Format = Annotated[
    Literal["auto", "text", "json", "jsonl", "csv", "html", "markdown"],
    Option("--format", help="What the text is; auto goes by the ending, and - is text."),
]
_Fields = Annotated[
    str | None,
    Option(metavar="A,B", help="Only these keys of JSON or columns of CSV.", show_default=False),
]
_Operators = Annotated[
    list[str] | None,
    Option(
        "--operator",
        metavar="LABEL=OPERATOR",
        help="replace, mask (or mask:X:2: the mark, and what stays), hash, pseudonym, encrypt or "
        "keep; * is every other label.  [default: *=replace]",
        show_default=False,
    ),
]
_Scope = Annotated[
    Literal["text", "key"],
    Option(help="Numbers and pseudonyms are consistent within a text, or under the key."),
]
_KeyFile = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        help=f"The key, of at least 32 characters.  [default: the variable {KEY_VARIABLE}]",
        show_default=False,
    ),
]
_Thresholds = Annotated[
    Path | None,
    Option(metavar="FILE", help="Thresholds that teddy evaluate --preset wrote."),
]


def redact(
    text: TextArgument = None,
    model_file: ModelOption = None,
    sources: _Input = None,
    target: _Output = STREAM,
    form: _Format = "auto",
    fields: _Fields = None,
    operators: _Operators = None,
    scope: _Scope = "text",
    key_file: _KeyFile = None,
    threshold: ThresholdOption = None,
    thresholds: _Thresholds = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Take the names out of a text or of files, and keep all that is not a name.

    A file is one document, whose names are numbered together; of .jsonl, each line is one. JSON,
    CSV, HTML and Markdown stay what they are: keys, cells, tags, links and marks are not changed.

    Examples:
      teddy redact "Ada Lovelace wrote to Charles Babbage."
      teddy redact --input letter.md --output letter.redacted.md
      teddy redact --input people.csv --fields name,notes --operator PER=pseudonym
      teddy redact --input a.json --input b.html --output out/ --operator '*=encrypt' --key-file key
      teddy evaluate mine.teddy dev.conll --recall 0.99 --preset thresholds.json
      teddy redact --thresholds thresholds.json --input letter.txt
    """
    sources = piped(text, sources)
    _check(text, sources, target)
    if threshold is not None and thresholds is not None:
        raise BadParameter("give this or --threshold", param_hint="--thresholds")
    use_one_thread()
    from teddy.model.predictor import load
    from teddy.service.bulk.request import read_threshold
    from teddy.service.redaction.operators import Policy
    from teddy.service.redaction.thresholds import read_thresholds

    chosen = dict(map(_operator, operators or ()))
    policy = Policy(operators=chosen, scope=scope, secret=_secret(key_file))
    predictor = load(model_file, precision=precision)
    labels = predictor.manifest.labels
    if thresholds is not None:
        found = read_thresholds(thresholds)
        least: object = {label: found[label] for label in labels if label in found}
    else:
        given = read_threshold(threshold, labels)
        least = dict(given) if isinstance(given, tuple) else given
    names = None if fields is None else [each.strip() for each in fields.split(",")]

    def change(contents: Sequence[str], kind: str) -> list[str]:
        return _redacted(predictor, contents, kind, names, policy, least)

    _apply(text, sources, target, form, change)


def restore(
    text: TextArgument = None,
    sources: _Input = None,
    target: _Output = STREAM,
    form: _Format = "auto",
    key_file: _KeyFile = None,
) -> None:
    """Put back the names that `teddy redact` has encrypted, with the same key and format.

    Exits with 1 if a name is of another key, or was changed: it is left as it is.

    Examples:
      teddy restore --input letter.redacted.md --output letter.md --key-file key
      teddy restore --key-file key "<PER:...> wrote to <PER:...>."
    """
    sources = piped(text, sources)
    _check(text, sources, target)
    from teddy.service.redaction.documents import restore as put_back

    secret = _secret(key_file)
    if secret is None:
        raise BadParameter(f"give a key, or set {KEY_VARIABLE}", param_hint="--key-file")
    n_unreadable = 0

    def change(contents: Sequence[str], kind: str) -> list[str]:
        nonlocal n_unreadable
        done = [put_back(content, kind, secret) for content in contents]
        n_unreadable += sum(each.unreadable for each in done)
        return [each.text for each in done]

    _apply(text, sources, target, form, change)
    if n_unreadable:
        print(f"teddy: {n_unreadable:,} are not of this key, or were changed", file=sys.stderr)
        raise Exit(1)


Change = Callable[[Sequence[str], str], list[str]]
"""What is done with documents of a format, one by one."""


def _check(text: str | None, sources: Sequence[Path] | None, target: Path) -> None:
    if (text is None) == (not sources):
        raise BadParameter("give either a text or --input", param_hint="TEXT")
    several = len(sources or ()) > 1
    if several and (target == STREAM or STREAM in (sources or ()) or target.is_file()):
        raise BadParameter("give a folder for several files", param_hint="--output")
    for source in sources or ():
        place = _place(source, target, several=several)
        if place != STREAM and place.exists() and source != STREAM and place.samefile(source):
            raise BadParameter("is the input as well; give another name", param_hint="--output")


def _operator(given: str) -> "tuple[str, Operator]":
    from teddy.service.redaction.operators import Operator

    label, equals, name = given.partition("=")
    try:
        if not equals:
            raise ValueError(f"LABEL=OPERATOR is wanted, not {given}")
        return label, Operator.parse(name)
    except ValueError as error:
        raise BadParameter(str(error), param_hint="--operator") from None


def _secret(path: Path | None) -> "Secret | None":
    from teddy.service.redaction.secret import Secret

    return Secret.read(path, os.environ.get(KEY_VARIABLE))


def _redacted(
    predictor: "Predictor",
    contents: Sequence[str],
    form: str,
    fields: Sequence[str] | None,
    policy: "Policy",
    threshold: object,
) -> list[str]:
    from teddy.service.redaction.documents import Document
    from teddy.service.redaction.documents import redact as take_out

    documents = [Document.read(content, form, fields) for content in contents]
    texts = [text for document in documents for text in document.texts]
    entities = iter(predictor.tag(texts, threshold=threshold))  # type: ignore[arg-type]
    return [
        take_out(document, [next(entities) for _ in document.segments], policy).text
        for document in documents
    ]


def _apply(
    text: str | None, sources: Sequence[Path] | None, target: Path, form: str, change: Change
) -> None:
    """Change a text, or each file, and write it."""
    from teddy.model.errors import DataError, TeddyError
    from teddy.model.system.files import write_atomically

    if text is not None:
        kind = {"auto": "text", "jsonl": "json"}.get(form, form)
        _write(change([text], kind)[0] + "\n")
        return
    sources = sources or ()
    for source in sources:
        content = sys.stdin.buffer.read() if source == STREAM else source.read_bytes()
        try:
            done = "".join(_changed(content.decode("utf-8"), source, form, change))
        except UnicodeDecodeError as error:
            reason = f"not UTF-8: byte 0x{content[error.start]:02x} at byte {error.start}"
            raise DataError(source, None, reason) from None
        except TeddyError as error:
            raise DataError(source, None, str(error)) from None
        place = _place(source, target, several=len(sources) > 1)
        if place == STREAM:
            _write(done)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, done.encode())


def _changed(content: str, source: Path, form: str, change: Change) -> Iterator[str]:
    ending = source.suffix.lower()
    if form == "jsonl" or (form == "auto" and ending in _BY_LINE):
        lines = re.split(r"(?<=\n)", content)  # JSON may have other line breaks in a string
        filled = [line for line in lines if line.strip()]
        done = iter(change(filled, "json"))
        for line in lines:
            yield next(done) if line.strip() else line
        return
    kind = form if form != "auto" else _ENDINGS.get(ending, "text" if source == STREAM else "")
    if not kind:
        raise BadParameter(f"say what {source.name} is", param_hint="--format")
    yield from change([content], kind)


def _place(source: Path, target: Path, *, several: bool) -> Path:
    if target == STREAM:
        return STREAM
    return target / source.name if several or target.is_dir() else target


def _write(content: str) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(content.encode())
    sys.stdout.flush()
