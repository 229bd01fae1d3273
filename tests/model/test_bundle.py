"""The model file: what was written is read, and all else is refused before any of it is run."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model import predictor
from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.drift.reference import FeatureReference, Reference, feature_bins
from teddy.model.errors import ModelFileError
from teddy.model.file.bundle import (
    FORMAT_VERSION,
    Bundle,
    CanaryEntity,
    CanaryText,
    Manifest,
    TrainingData,
    extra_files,
    read_bundle,
    read_manifest,
    read_version,
    seal,
)
from teddy.model.network import precision
from teddy.model.network import torchscript as export
from teddy.model.network.torchscript import script, to_archive
from teddy.model.predictor import load
from teddy.model.text.words import TOKENISER_VERSION

MANIFEST = Manifest(
    format_version=FORMAT_VERSION,
    name="made-up",
    language="xx",
    created="2024-01-01T00:00:00+00:00",
    tokeniser_version=1,
    labels=("PER", "ÉTÉ"),
    features=FeatureConfig(affix_lengths=(2,)),
    network=NetworkConfig(dense_widths=(3, 4)),
    n_parameters=6,
    window_words=20,
    window_overlap=4,
    temperature=1.25,
    scores={"dev": {"micro": {"f1": 0.5}}},
    training_data=(TrainingData(name="tales", licence="CC0", n_words=7),),
    canary=(CanaryText(text="Mira 😀", entities=(CanaryEntity(start=0, end=4, label="PER"),)),),
    reference=Reference(
        features={"score": FeatureReference(counts={"low": 1, "high": 2}, spread=0.5)}
    ),
    recipe='name = "made-up"\n',
)
PIECES = bytes(range(256))
WORDS = ("mira", "été", "\u3000", "of\r", "x\u2028y")
"""Some that `str.splitlines` would cut and `str.strip` would eat."""


@pytest.fixture(scope="module")
def archive() -> bytes:
    """A small TorchScript archive with a model's extra files; its network is no tagger."""
    return to_archive(script(torch.nn.Linear(2, 2)), extra_files(MANIFEST, PIECES, WORDS))


@pytest.fixture(scope="module")
def sealed(archive: bytes) -> bytes:
    return seal(archive)


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Loads a file that must be refused without being run, and gives the reason."""

    def run(*_: object, **__: object) -> NoReturn:
        pytest.fail("something of a file was used before it was checked")

    monkeypatch.setattr(torch.jit, "load", run)
    monkeypatch.setattr(torch, "load", run)
    for module in (export, precision):
        monkeypatch.setattr(module, "from_archive", run)
    for module in (precision, predictor):
        monkeypatch.setattr(module, "Pieces", run)
    path = tmp_path / "m.teddy"

    def reason(content: bytes) -> str:
        path.write_bytes(content)
        with pytest.raises(ModelFileError) as refused:
            load(path)
        assert refused.value.path == str(path)
        assert "\n" not in str(refused.value)
        return refused.value.reason

    return reason


def with_manifest(archive: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The archive with its manifest changed, sealed again."""
    return with_manifest_bytes(archive, lambda content: _changed(content, change))


def with_manifest_bytes(archive: bytes, change: Callable[[bytes], bytes | None]) -> bytes:
    """The archive with the bytes of its manifest changed, or without it, sealed again."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            content = (
                change(old.read(name)) if name.endswith("/extra/manifest.json") else old.read(name)
            )
            if content is not None:
                new.writestr(name, content)
    return seal(stream.getvalue())


def _changed(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    plain = json.loads(content)
    change(plain)
    return json.dumps(plain).encode()


# What was written is read.


def test_a_bundle_is_read_as_it_was_written(archive: bytes, sealed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.teddy"
    path.write_bytes(seal(archive))
    bundle = read_bundle(path)
    assert bundle == Bundle(
        manifest=MANIFEST,
        digest=bundle.digest,
        pieces=PIECES,
        words=WORDS,
        archive=path.read_bytes(),
    )
    assert path.read_bytes() == sealed
    assert read_manifest(str(path)) == MANIFEST


def test_the_manifest_as_a_dict_is_what_json_would_give_back() -> None:
    plain = MANIFEST.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["labels"], plain["network"]["dense_widths"]) == (["PER", "ÉTÉ"], [3, 4])


def test_the_version_is_the_beginning_of_the_digest_that_the_file_ends_with(
    sealed: bytes, tmp_path: Path
) -> None:
    (tmp_path / "m.teddy").write_bytes(sealed)
    bundle = read_bundle(tmp_path / "m.teddy")
    assert sealed.endswith(bundle.digest.encode())
    assert (len(bundle.digest), bundle.version) == (64, bundle.digest[:12])


def test_the_version_can_be_had_alone_of_a_file_that_is_whole(
    sealed: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "m.teddy"
    path.write_bytes(sealed)
    assert read_version(path) == read_bundle(path).version
    path.write_bytes(sealed[:-1])
    with pytest.raises(ModelFileError, match="truncated"):
        read_version(path)


def test_the_same_content_has_the_same_digest_and_another_content_another(
    archive: bytes, sealed: bytes
) -> None:
    assert seal(archive) == sealed
    linear = script(torch.nn.Linear(2, 2))
    extras = extra_files(MANIFEST, PIECES, WORDS)
    assert to_archive(linear, extras) == to_archive(linear, extras)
    other = with_manifest(archive, lambda plain: plain.update(temperature=1.5))
    assert other[-64:] != sealed[-64:]


def test_a_sealed_file_is_still_a_zip_archive_that_anyone_can_list(sealed: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(sealed)) as opened:
        assert opened.testzip() is None
        assert any(name.endswith("extra/manifest.json") for name in opened.namelist())


def test_reading_a_bundle_does_not_even_import_torch(sealed: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.teddy").write_bytes(sealed)
    program = (
        "import sys; from teddy.model.file.bundle import *; "
        "read_bundle(sys.argv[1]); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "m.teddy")]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "False\n"


# Anything else is refused before it is run.

damages = settings(deadline=None, max_examples=80)


@given(data=st.data())
@damages
def test_a_file_cut_anywhere_is_refused(
    sealed: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.teddy"
    path.write_bytes(sealed[: data.draw(st.integers(0, len(sealed) - 1))])
    with pytest.raises(ModelFileError, match=r"empty|not a Teddy model file|truncated"):
        read_bundle(path)


@given(data=st.data())
@damages
def test_a_file_with_any_byte_changed_is_refused(
    sealed: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    # From either end, so that the head and the digest are met as often as what lies between.
    position = data.draw(st.integers(-len(sealed), len(sealed) - 1))
    changed = bytearray(sealed)
    changed[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "changed.teddy"
    path.write_bytes(changed)
    with pytest.raises(
        ModelFileError, match=r"not a Teddy model file|no digest at its end|damaged or changed"
    ):
        read_bundle(path)


def test_a_file_with_something_after_its_end_is_refused(
    refuse: Callable[[bytes], str], sealed: bytes
) -> None:
    assert "no digest at its end" in refuse(sealed + b"\n")
    assert "damaged or changed" in refuse(sealed + sealed)


def test_damage_is_told_with_both_digests(refuse: Callable[[bytes], str], sealed: bytes) -> None:
    middle = len(sealed) // 2
    reason = refuse(sealed[:middle] + bytes([sealed[middle] ^ 1]) + sealed[middle + 1 :])
    assert "damaged or changed after export" in reason
    assert f"it states '{sealed[-64:-52].decode()}'" in reason


def test_digits_in_capitals_or_no_digits_at_all_are_refused(
    refuse: Callable[[bytes], str], sealed: bytes
) -> None:
    for digits in (sealed[-64:].upper(), b"\xff" * 64, b"\n" * 64):
        assert "damaged or changed" in refuse(sealed[:-64] + digits)


def plain_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("letter.txt", "Dear Mira")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "empty"),
        (b"PK", "not a Teddy model file"),
        (b"Dear Mira, it rains.\n", "not a Teddy model file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "not a Teddy model file"),
        (b"\x80\x02}q\x00.", "not a Teddy model file"),  # a pickle
        (plain_zip(), "a zip archive that is not a Teddy model file"),
        (
            to_archive(script(torch.nn.Linear(1, 1)), {}),
            "a zip archive that is not a Teddy model file",
        ),
    ],
    ids=["empty", "two bytes", "text", "png", "pickle", "zip", "torchscript"],
)
def test_a_foreign_file_is_refused(
    refuse: Callable[[bytes], str], content: bytes, cause: str
) -> None:
    assert cause in refuse(content)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="No such file"):
        read_bundle(tmp_path / "nowhere.teddy")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_bundle(tmp_path)


# A file with a good digest whose manifest is not one.


def test_a_file_of_format_3_is_read_with_what_its_reference_had(
    archive: bytes, tmp_path: Path
) -> None:
    reference = {
        "n_words": 1000,
        "entities_per_word": {"PER": 0.1, "ÉTÉ": 0.02},
        "score_histogram": list(range(10)),
        "pieces_per_word_histogram": list(range(8)),
    }
    (tmp_path / "m.teddy").write_bytes(
        with_manifest(archive, lambda plain: plain.update(format_version=3, reference=reference))
    )
    manifest = read_manifest(tmp_path / "m.teddy")
    features = manifest.reference.features
    assert (
        replace(manifest, format_version=FORMAT_VERSION, reference=MANIFEST.reference) == MANIFEST
    )
    assert features["label"] == FeatureReference(counts={"PER": 100, "ÉTÉ": 20}, spread=1)
    for name, values in (("score", range(10)), ("pieces", range(8))):
        assert tuple(features[name].counts) == feature_bins(())[name]
        assert list(features[name].counts.values()) == list(values)


@pytest.mark.parametrize(
    "part", ["n_words", "entities_per_word", "score_histogram", "pieces_per_word_histogram"]
)
@pytest.mark.parametrize("value", [None, "many", [1]])
def test_a_reference_of_format_3_that_does_not_fit_is_refused(
    refuse: Callable[[bytes], str], archive: bytes, part: str, value: object
) -> None:
    reference = {
        "n_words": 1000,
        "entities_per_word": {"PER": 0.1},
        "score_histogram": [0] * 10,
        "pieces_per_word_histogram": [0] * 8,
    }
    older = {**reference, part: value}
    assert "reference" in refuse(
        with_manifest(archive, lambda plain: plain.update(format_version=3, reference=older))
    )


def test_another_format_version_is_refused_and_named(
    refuse: Callable[[bytes], str], archive: bytes
) -> None:
    newer = with_manifest(
        archive, lambda plain: plain.update(format_version=FORMAT_VERSION + 1, novelty=True)
    )
    assert f"format version {FORMAT_VERSION + 1}, but this Teddy reads {FORMAT_VERSION}" in refuse(
        newer
    )
    assert "format version None" in refuse(
        with_manifest(archive, lambda plain: plain.pop("format_version"))
    )


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda plain: plain.pop("labels"), "labels"),
        (lambda plain: plain.update(labels=7), "labels"),
        (lambda plain: plain["network"].update(cell="abacus"), "network.cell"),
        (lambda plain: plain["features"].update(affix_rows="many"), "features.affix_rows"),
        (lambda plain: plain["canary"][0]["entities"][0].pop("end"), "canary.0.entities.0.end"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_and_the_place_named(
    refuse: Callable[[bytes], str],
    archive: bytes,
    change: Callable[[dict[str, Any]], object],
    place: str,
) -> None:
    reason = refuse(with_manifest(archive, change))
    assert "the manifest does not fit" in reason
    assert place in reason


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000], ids=["empty", "open", "bytes", "deep"]
)
def test_a_manifest_that_is_not_json_is_refused(
    refuse: Callable[[bytes], str], archive: bytes, content: bytes
) -> None:
    assert "the manifest is not JSON" in refuse(with_manifest_bytes(archive, lambda _: content))


@pytest.mark.parametrize("content", [b"null", b"[]", b'"1"', b"1"])
def test_a_manifest_that_is_no_object_is_refused(
    refuse: Callable[[bytes], str], archive: bytes, content: bytes
) -> None:
    assert "format version None" in refuse(with_manifest_bytes(archive, lambda _: content))


@pytest.mark.parametrize("part", ["manifest.json", "pieces.model", "words.txt"])
def test_a_file_without_a_part_is_refused_and_the_part_named(
    refuse: Callable[[bytes], str], part: str
) -> None:
    extras = extra_files(MANIFEST, PIECES, WORDS)
    del extras[part]
    assert part in refuse(seal(to_archive(script(torch.nn.Linear(1, 1)), extras)))


def test_words_that_are_no_utf8_are_refused(refuse: Callable[[bytes], str]) -> None:
    extras = {**extra_files(MANIFEST, PIECES, WORDS), "words.txt": b"\xff\xfe"}
    assert "lacks a part" in refuse(seal(to_archive(script(torch.nn.Linear(1, 1)), extras)))


@pytest.mark.parametrize("words", [(), ("one",), ("one", "two", "één")], ids=len)
def test_any_number_of_words_comes_back(words: tuple[str, ...], tmp_path: Path) -> None:
    archive = to_archive(script(torch.nn.Linear(1, 1)), extra_files(MANIFEST, PIECES, words))
    (tmp_path / "m.teddy").write_bytes(seal(archive))
    assert read_bundle(tmp_path / "m.teddy").words == words


def test_a_card_comes_back_and_a_file_may_be_without_one(tmp_path: Path) -> None:
    for card in ("", "# Mira 😀\n"):
        extras = extra_files(MANIFEST, PIECES, WORDS, card)
        assert ("card.md" in extras) == bool(card)
        (tmp_path / "m.teddy").write_bytes(seal(to_archive(script(torch.nn.Linear(1, 1)), extras)))
        assert read_bundle(tmp_path / "m.teddy").card == card


@pytest.mark.usefixtures("refuse")
def test_a_pinned_file_is_read_and_any_other_is_refused_before_anything_in_it_is_run(
    archive: bytes, sealed: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "pinned.teddy"
    path.write_bytes(sealed)
    pinned = sha256(sealed).hexdigest()  # what `sha256sum` prints
    assert read_bundle(path, sha256=pinned).manifest == MANIFEST
    path.write_bytes(with_manifest(archive, lambda manifest: manifest.update(name="another")))
    for read in (read_bundle, load):
        with pytest.raises(ModelFileError, match=f"the one that is pinned begins {pinned[:12]}$"):
            read(path, sha256=pinned)


def test_a_model_for_words_of_another_tokeniser_is_refused(refuse: Callable[[bytes], str]) -> None:
    newer = TOKENISER_VERSION + 1
    other = replace(MANIFEST, tokeniser_version=newer)
    reason = refuse(
        seal(to_archive(script(torch.nn.Linear(1, 1)), extra_files(other, PIECES, WORDS)))
    )
    assert f"made for tokeniser {newer}, but this Teddy has those of 1 to {newer - 1}" in reason
