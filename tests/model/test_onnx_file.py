"""An ONNX file carries what a .teddy file does, gives the same, and is refused when damaged."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.errors import MissingExtraError, ModelFileError
from teddy.model.file import onnx_archive as archive
from teddy.model.file.bundle import Bundle, read_bundle
from teddy.model.predictor import SHIPPED_MODEL, Predictor, load
from teddy.training.export.publish import first_difference, write_onnx

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Shell = Callable[..., tuple[int, str, str]]
TEXTS = [
    "Anna Berg went to Port Ellen.",
    "Nobody was there.",
    "",
    "Who saw Ida Holm in New Haven today? " * 8,
    "The bears of Lund sleep.",
]
NEWS = [
    "Teddy Roosevelt met Ida Tarbell in New York, said the National Gazette on Monday.",
    "MARGARET HOLLOWAY JOINS NORTHERN RAIL",
    "the bears that Ben bought in Lisbon were made by Halden & Sons.",
    "On 3 May the Treaty of Ghent was read to the House of Commons by Lord Ashby, who had come "
    "from Cork.",
    "Nothing happened.",
]


@pytest.fixture(scope="module")
def tiny_onnx(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as an ONNX file."""
    path = tmp_path_factory.mktemp("onnx") / "a new folder" / "tiny.onnx"
    write_onnx(tiny_model, path)
    return path


def found_in(predictor: Predictor, texts: list[str]) -> list[list[tuple[int, int, str, str]]]:
    return [
        [(each.start, each.end, each.label, each.text) for each in entities]
        for entities in predictor.tag(texts)
    ]


def scores_of(predictor: Predictor, texts: list[str]) -> list[float]:
    return [entity.score for entities in predictor.tag(texts) for entity in entities]


def as_exported(path: Path) -> Bundle:
    """What a model file carries; when it was written is of the file, and its digest and archive."""
    bundle = read_bundle(path)
    manifest = replace(bundle.manifest, created="")
    return replace(bundle, manifest=manifest, digest="", archive=b"", format="torchscript")


def test_it_carries_all_that_the_model_file_carries(tiny_model: Path, tiny_onnx: Path) -> None:
    expected, found = read_bundle(tiny_model), read_bundle(tiny_onnx)
    assert (expected.format, found.format) == ("torchscript", "onnx")
    assert as_exported(tiny_onnx) == as_exported(tiny_model)
    assert found.card
    assert found.version != expected.version


def test_it_gives_the_entities_and_the_scores_of_the_model_file(
    tiny_predictor: Predictor, tiny_onnx: Path
) -> None:
    predictor = load(tiny_onnx)
    assert predictor.precision == "fp32"
    assert found_in(predictor, TEXTS) == found_in(tiny_predictor, TEXTS) != [[]] * len(TEXTS)
    assert scores_of(predictor, TEXTS) == pytest.approx(scores_of(tiny_predictor, TEXTS), abs=1e-5)
    assert found_in(predictor, TEXTS) == [found_in(predictor, [text])[0] for text in TEXTS]


def test_the_model_that_ships_gives_the_same_entities_as_onnx(tmp_path: Path) -> None:
    write_onnx(SHIPPED_MODEL, tmp_path / "en.onnx")
    expected, found = load(SHIPPED_MODEL, precision="fp32"), load(tmp_path / "en.onnx")
    assert found_in(found, NEWS) == found_in(expected, NEWS) != [[]] * len(NEWS)
    assert scores_of(found, NEWS) == pytest.approx(scores_of(expected, NEWS), abs=1e-5)


def test_it_is_an_ordinary_onnx_model(tiny_model: Path, tiny_onnx: Path) -> None:
    import onnx

    model = onnx.load(str(tiny_onnx))
    onnx.checker.check_model(model, full_check=True)
    assert [each.name for each in model.graph.input] == ["rows", "starts", "words", "lengths"]
    assert [each.name for each in model.graph.output] == [
        "tags",
        "marginal",
        "opening",
        "closing",
        "emissions",
    ]
    known = {each.key: each.value for each in model.metadata_props}
    assert known["card.md"] == read_bundle(tiny_model).card
    assert known["teddy-sha256"] == read_bundle(tiny_onnx).digest


@given(
    st.dictionaries(st.sampled_from(["manifest.json", "words.txt", "card.md"]), st.text()),
    st.binary(max_size=300),
)
def test_what_is_sealed_is_read_again(texts: dict[str, str], pieces: bytes) -> None:
    extras = {name: text.encode() for name, text in texts.items()} | {"pieces.model": pieces}
    content = archive.seal(archive.MAGIC, extras)
    assert {name: archive.extra_files(content)[name] for name in extras} == extras


def test_a_change_of_any_byte_is_found(tiny_onnx: Path, tmp_path: Path) -> None:
    content = tiny_onnx.read_bytes()
    for position in [
        *range(30),
        *range(30, len(content), len(content) // 40),
        *range(len(content) - 70, len(content)),
    ]:
        changed = bytearray(content)
        changed[position] ^= 1
        (tmp_path / "m.onnx").write_bytes(changed)
        with pytest.raises(ModelFileError, match=r"m\.onnx: (damaged|not a Teddy|truncated)"):
            read_bundle(tmp_path / "m.onnx")


@pytest.mark.parametrize("kept", [0, 1, 8, 100, -1, -64, -65])
def test_a_truncated_file_is_refused(tiny_onnx: Path, tmp_path: Path, kept: int) -> None:
    (tmp_path / "m.onnx").write_bytes(tiny_onnx.read_bytes()[:kept])
    with pytest.raises(ModelFileError, match=r"m\.onnx: (the file is empty|not a Teddy|truncated)"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize("maker", ["teddy", "another"])
def test_an_onnx_model_of_another_maker_is_refused(tmp_path: Path, maker: str) -> None:
    from onnx import helper

    empty = helper.make_model(
        helper.make_graph([], "empty", [], []), producer_name=maker, ir_version=8
    )
    (tmp_path / "m.onnx").write_bytes(empty.SerializeToString())
    with pytest.raises(ModelFileError, match="not a Teddy model file"):
        load(tmp_path / "m.onnx")


def test_a_sealed_graph_that_is_not_the_model_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    from onnx import helper

    empty = helper.make_model(
        helper.make_graph([], "empty", [], []), producer_name="teddy", ir_version=8
    )
    extras = archive.extra_files(tiny_onnx.read_bytes())
    del extras["teddy-sha256"]
    (tmp_path / "m.onnx").write_bytes(archive.seal(empty.SerializeToString(), extras))
    with pytest.raises(
        ModelFileError,
        match="its manifest, pieces and network do not fit together: the graph has no",
    ):
        load(tmp_path / "m.onnx")


def test_in_8_bits_it_keeps_its_canary_and_says_so(tiny_onnx: Path) -> None:
    predictor = load(tiny_onnx, precision="int8")
    assert predictor.precision == "int8"
    assert predictor.passes_canary()


def test_a_precision_that_onnx_runtime_lacks_is_refused(tiny_onnx: Path) -> None:
    with pytest.raises(
        ModelFileError, match=r"tiny\.onnx: an ONNX model runs in fp32 or int8, not in bf16"
    ):
        load(tiny_onnx, precision="bf16")


def test_layers_that_have_no_8_bits_are_refused_by_name(tiny_onnx: Path) -> None:
    from teddy.model.network.precision import onnx_precisions

    network = replace(read_bundle(tiny_onnx).manifest.network, cell="gru")
    assert onnx_precisions(tiny_onnx, network, "auto") == ("fp32",)
    with pytest.raises(
        ModelFileError, match="LSTM layers in int8, but this network has gru layers"
    ):
        onnx_precisions(tiny_onnx, network, "int8")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra_it_is_read_but_not_run(
    tiny_model: Path, tiny_onnx: Path, tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("teddy.") and ".onnx_" in name]:
        if name != archive.__name__:
            folder, _, module = name.rpartition(".")
            monkeypatch.delitem(sys.modules, name)
            monkeypatch.delattr(sys.modules[folder], module)
    monkeypatch.setitem(sys.modules, package, None)
    reason = rf"ONNX models need the package {package}, .*: pip install 'teddy\[onnx\]'"
    assert as_exported(tiny_onnx) == as_exported(tiny_model)
    with pytest.raises(MissingExtraError, match=reason):
        load(tiny_onnx)
    with pytest.raises(MissingExtraError, match=reason):
        write_onnx(tiny_model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_is_not_a_source_of_another(tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"tiny\.onnx: an ONNX file already"):
        write_onnx(tiny_onnx, tmp_path / "again.onnx")


@pytest.mark.parametrize("weight", ["emission.bias", "crf.temperature"])
def test_a_network_that_does_not_give_the_same_is_not_written(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: str
) -> None:
    from teddy.training.export import onnx_tagger as convert
    from teddy.training.export.onnx_tagger import build_model

    def build_wrongly(config: Any, weights: dict[str, Any]) -> Any:
        wrong = weights[weight] * 3
        if weight == "emission.bias":
            wrong[-1] += 50  # such that every word is a name
        return build_model(config, weights | {weight: wrong})

    monkeypatch.setattr(convert, "build_model", build_wrongly)
    with pytest.raises(ModelFileError, match="canary"):
        write_onnx(tiny_model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_differs_is_told(tiny_predictor: Predictor, tiny_onnx: Path) -> None:
    assert first_difference(tiny_predictor, load(tiny_onnx)) is None
    difference = first_difference(tiny_predictor, load(tiny_onnx, precision="int8"))
    assert difference is not None
    assert "probabilities that differ from TorchScript's by" in difference


class TestOnTheCommandLine:
    def test_a_model_file_becomes_an_onnx_file_that_every_command_takes(
        self, shell: Shell, tiny_model: Path, tiny_data: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "tiny.onnx"
        assert shell("export", tiny_model, path) == (0, "", "")
        text = "Anna Berg went to Port Ellen."
        assert shell("tag", "--model", path, text) == shell(
            "tag", "--model", tiny_model, "--precision", "fp32", text
        )
        code, shown, _ = shell("inspect", path)
        assert (code, "format onnx" in shown) == (0, True)
        assert shell("inspect", "--card", path) == shell("inspect", "--card", tiny_model)
        assert (
            shell("evaluate", path, tiny_data / "dev.conll")[:2]
            == shell("evaluate", tiny_model, tiny_data / "dev.conll")[:2]
        )

    def test_a_checkpoint_becomes_an_onnx_file_of_any_name(
        self, shell: Shell, tiny_run: Path, tiny_predictor: Predictor, tmp_path: Path
    ) -> None:
        path = tmp_path / "model.bin"
        assert shell("export", tiny_run / "best.checkpoint", path, "--format", "onnx") == (
            0,
            "",
            "",
        )
        assert read_bundle(path).format == "onnx"
        assert found_in(load(path), TEXTS) == found_in(tiny_predictor, TEXTS)

    def test_options_of_a_checkpoint_are_refused_for_a_model_file(
        self, shell: Shell, tiny_model: Path, tiny_data: Path, tmp_path: Path
    ) -> None:
        code, _, told = shell("export", tiny_model, tmp_path / "m.onnx", "--data", tiny_data)
        assert (code, "--data: goes with a checkpoint" in told) == (2, True)

    def test_a_model_file_is_not_exported_as_what_it_is(
        self, shell: Shell, tiny_model: Path, tmp_path: Path
    ) -> None:
        code, _, told = shell("export", tiny_model, tmp_path / "m.teddy")
        assert (code, told.count("\n")) == (2, 1)
        assert "name it .onnx" in told
        assert list(tmp_path.iterdir()) == []

    def test_bits_that_onnx_runtime_lacks_are_refused_in_one_line(
        self, shell: Shell, tiny_onnx: Path
    ) -> None:
        code, output, told = shell("tag", "--model", tiny_onnx, "--precision", "bf16", "Anna")
        assert (code, output, told.count("\n")) == (2, "", 1)
