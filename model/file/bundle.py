"""The model file: one `NAME.teddy`, a TorchScript archive whose extra files hold everything else.

    zip archive     code/ data/ constants.pkl ...    the scripted network
                    extra/manifest.json              `Manifest`: labels, settings, scores, data
                    extra/pieces.model               the sentencepiece model
                    extra/words.txt                  the words with an embedding, one a line
                    extra/lexicon                    classes of words; a file may be without it
                    extra/card.md                    the model card; a file may be without it
    zip comment     "teddy-sha256:" and 64 hexadecimal digits: the digest of every byte before them

The same model as an ONNX file, `NAME.onnx`, carries the same parts: see
`model/file/onnx_archive.py`.

The digest finds damage and careless changes before anything in the file is run; against an attacker
who can write it again, compare it with one got from elsewhere. The file's version, shown with every
answer, is the digest's beginning.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.drift.reference import AnyReference
from teddy.model.errors import ModelFileError
from teddy.model.file import onnx_archive
from teddy.model.text.sentences import SentenceMode

FORMAT_VERSION = 5
_READABLE = (3, 4, FORMAT_VERSION)
"""Format 3 had less in its reference, format 4 no lexicon."""
_MARK = b"teddy-sha256:"
_DIGITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """A corpus that the model learned from, with its licence."""

    name: str
    licence: str
    source: str = ""
    n_sentences: int = 0
    n_words: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedRule:
    """A rule of the recipe for the spans of a corpus, and how many of them it changed."""

    corpus: str
    rule: str
    n_train: int
    n_dev: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryEntity:
    """An entity that a canary text must give; offsets in characters."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryText:
    """A text and the entities that this model gave when it was exported."""

    text: str
    entities: tuple[CanaryEntity, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that is known of a model beside its weights."""

    format_version: int
    name: str
    language: str
    created: str = ""
    """UTC, ISO 8601: when the file was written. It is not in new files, so that equal runs give
    equal files; `read_bundle` takes it from the file system."""
    tokeniser_version: int
    labels: tuple[str, ...]
    features: FeatureConfig
    network: NetworkConfig
    n_parameters: int
    window_words: int
    window_overlap: int
    temperature: float
    """By which the CRF's scores are divided before they become probabilities; fitted on dev."""
    scores: dict[str, Any]
    """Measured on dev with the weights in the file."""
    training_data: tuple[TrainingData, ...]
    canary: tuple[CanaryText, ...]
    reference: AnyReference
    recipe: str
    """The resolved recipe, in TOML."""
    rules: tuple[AppliedRule, ...] = ()
    """The rules that brought the training and development data to one convention. Files of before
    they were counted have none."""
    sentences: SentenceMode = "document"
    """How texts are cut into sentences where a request does not say it."""

    def as_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON would have it."""
        plain: dict[str, Any] = _MANIFEST.dump_python(self, mode="json")
        return plain


_MANIFEST = TypeAdapter(Manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A model file that was read and whose digest was checked; nothing in it has been run."""

    manifest: Manifest
    digest: str
    pieces: bytes
    words: tuple[str, ...]
    archive: bytes
    lexicon: bytes = b""
    """A `teddy.model.features.lexicon.Lexicon`; empty when the file has none."""
    card: str = ""
    """The model card, in Markdown; empty when the file has none."""
    format: Literal["torchscript", "onnx"] = "torchscript"
    """Of the network, and so of the file: `archive` is that whole file."""

    @property
    def version(self) -> str:
        """The first twelve digits of the digest."""
        return _version(self.digest)


def extra_files(
    manifest: Manifest,
    pieces: bytes,
    words: Sequence[str],
    card: str = "",
    lexicon: bytes = b"",
) -> dict[str, bytes]:
    """Return the files beside the network in the archive; none for an empty card or lexicon."""
    extras = {
        "manifest.json": _MANIFEST.dump_json(manifest, indent=1),
        "pieces.model": pieces,
        "words.txt": "\n".join(words).encode(),
        "card.md": card.encode(),
        "lexicon": lexicon,
    }
    needed = ("manifest.json", "pieces.model", "words.txt")
    return {name: each for name, each in extras.items() if each or name in needed}


def seal(archive: bytes) -> bytes:
    """Return an archive of a network and `extra_files` with its digest at the end."""
    stream = io.BytesIO(archive)
    with zipfile.ZipFile(stream, "a") as opened:
        opened.comment = _MARK + b"0" * _DIGITS
    body = stream.getvalue()[:-_DIGITS]
    return body + hashlib.sha256(body).hexdigest().encode()


def read_bundle(path: Path | str, *, sha256: str | None = None) -> Bundle:
    """Read and check a model file without running anything in it.

    `sha256` pins it: the SHA-256 of the whole file, in lower case, as `sha256sum` prints it. The
    file is read once, so that what was checked is what the bundle has.

    Raises ModelFileError: missing, foreign, truncated, changed after export, another file than the
    pinned one, of another format version, or with a manifest that does not fit the format.
    """
    content, written = _read(path), _written(path)
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ModelFileError(
            path,
            f"its SHA-256 begins {found[:12]}, but the one that is pinned begins {sha256[:12]}",
        )
    digest = _check_digest(path, content)
    is_onnx = content.startswith(onnx_archive.MAGIC)
    try:
        extras = onnx_archive.extra_files(content) if is_onnx else _extra_files(content)
        manifest = _read_manifest(path, extras["manifest.json"])
        if not manifest.created:
            manifest = replace(manifest, created=written)
        pieces = extras["pieces.model"]
        words = tuple(extras["words.txt"].decode().split("\n"))
        card, lexicon = extras.get("card.md", b"").decode(), extras.get("lexicon", b"")
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ModelFileError(
            path, f"the archive lacks a part that every model has ({error})"
        ) from error
    return Bundle(
        manifest=manifest,
        digest=digest,
        pieces=pieces,
        words=() if words == ("",) else words,
        archive=content,
        lexicon=lexicon,
        card=card,
        format="onnx" if is_onnx else "torchscript",
    )


def _extra_files(content: bytes) -> dict[str, bytes]:
    """Return what `extra_files` put into a TorchScript archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            name.rpartition("/extra/")[2]: archive.read(name)
            for name in archive.namelist()
            if "/extra/" in name
        }


def read_manifest(path: Path | str) -> Manifest:
    """Read only the manifest; raise as `read_bundle` does."""
    return read_bundle(path).manifest


def read_version(path: Path | str) -> str:
    """Read only the version. Raises ModelFileError for a missing, foreign or damaged file."""
    return _version(_check_digest(path, _read(path)))


def _version(digest: str) -> str:
    return digest[:12]


def _read(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(path, f"cannot be read: {error.strerror}") from error


def _written(path: Path | str) -> str:
    try:
        seconds = Path(path).stat().st_mtime
    except OSError as error:
        raise ModelFileError(path, f"cannot be read: {error.strerror}") from error
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _check_digest(path: Path | str, content: bytes) -> str:
    if not content:
        raise ModelFileError(path, "the file is empty")
    is_zip = content.startswith(b"PK\x03\x04")
    if not is_zip and not content.startswith(onnx_archive.MAGIC):
        raise ModelFileError(path, "not a Teddy model file")
    if not content[:-_DIGITS].endswith(_MARK if is_zip else onnx_archive.MARK):
        kind = "a zip archive" if is_zip else "an ONNX model"
        raise ModelFileError(
            path, f"truncated, or {kind} that is not a Teddy model file: no digest at its end"
        )
    stated = content[-_DIGITS:].decode("ascii", errors="replace")
    found = hashlib.sha256(content[:-_DIGITS]).hexdigest()
    if stated != found:
        raise ModelFileError(
            path,
            f"damaged or changed after export: its digest begins {found[:12]}, "
            f"it states {stated[:12]!r}",
        )
    return found


def _read_manifest(path: Path | str, content: bytes) -> Manifest:
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(path, "the manifest is not JSON") from error
    found = plain.get("format_version") if isinstance(plain, Mapping) else None
    if found not in _READABLE:
        raise ModelFileError(
            path,
            f"format version {found}, but this Teddy reads {FORMAT_VERSION}: export the model "
            "again",
        )
    try:
        return _MANIFEST.validate_python(plain)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise ModelFileError(
            path, f"the manifest does not fit: {place}: {error.errors()[0]['msg']}"
        ) from error
