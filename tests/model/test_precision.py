"""Precision: fewer bits never silently give other entities, and `auto` is the fastest one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from teddy.model import predictor
from teddy.model.config import CellName, NetworkConfig
from teddy.model.errors import ModelFileError, TrainingError
from teddy.model.features.batching import make_batch
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import Bundle, read_bundle
from teddy.model.network import cells, precision
from teddy.model.network.precision import (
    PRECISIONS,
    candidates,
    fastest,
    load_network,
    number_format,
    processor_has_bf16,
)
from teddy.model.network.tagger_network import Network
from teddy.model.network.torchscript import script, to_archive
from teddy.model.predictor import Predictor, load
from teddy.model.tagger import TaggingNetwork
from teddy.model.tags.tag_set import TagSet
from teddy.training.learning import torch_setup as device
from teddy.training.learning.torch_setup import has_fast_bf16

has_int8 = bool({"onednn", "x86", "fbgemm"} & set(torch.backends.quantized.supported_engines))
needs_int8 = pytest.mark.skipif(not has_int8, reason="torch has no int8 engine here")
int8 = pytest.param("int8", marks=needs_int8)
TEXTS = [
    "Anna Berg went to Oslo.",
    "Nobody was there.",
    "In Port Ellen, Ida Holm met Teddy Marsh.",
    "The bears of Lund sleep.",
]


@pytest.fixture(scope="module")
def bundle(tiny_model: Path) -> Bundle:
    return read_bundle(tiny_model)


def found(predictor: Predictor) -> list[list[tuple[str, str]]]:
    return [
        [(entity.label, entity.text) for entity in entities] for entities in predictor.tag(TEXTS)
    ]


@pytest.mark.parametrize("precision", ["fp32", "bf16", int8])
def test_each_precision_loads_and_gives_the_canary(tiny_model: Path, precision: str) -> None:
    predictor = load(tiny_model, precision=precision)
    assert predictor.precision == precision
    assert predictor.passes_canary()


@pytest.mark.parametrize("precision", ["bf16", int8])
def test_fewer_bits_give_nearly_the_same_scores(
    tiny_model: Path, tiny_predictor: Predictor, precision: str
) -> None:
    fewer = load(tiny_model, precision=precision)
    for ours, theirs in zip(
        fewer.tag_documents(TEXTS), tiny_predictor.tag_documents(TEXTS), strict=True
    ):
        assert [token.tag for token in ours.tokens] == [token.tag for token in theirs.tokens]
        scores = [token.score for token in ours.tokens]
        assert scores == pytest.approx([token.score for token in theirs.tokens], abs=0.1)


def test_in_bf16_the_embedding_and_the_crf_keep_their_bits(bundle: Bundle) -> None:
    network = load_network(bundle, "bf16")
    assert isinstance(network, nn.Module)
    low = {
        name.partition(".")[0]
        for name, each in network.named_parameters()
        if each.dtype == torch.bfloat16
    }
    full = {
        name.partition(".")[0]
        for name, each in network.named_parameters()
        if each.dtype == torch.float32
    }
    assert (low, full) == ({"encoder"}, {"embedding", "emission", "crf"})


@pytest.mark.parametrize("precision", ["bf16", int8])
@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm-peephole"])
def test_every_kind_of_cell_runs_in_fewer_bits(
    bundle: Bundle, cell: CellName, precision: str
) -> None:
    torch.manual_seed(6)
    config = NetworkConfig(
        embedding_width=16, normalise=cell != "lstm", cell=cell, hidden_width=16, dense_widths=(8,)
    )
    tag_set = TagSet(bundle.manifest.labels)
    features = WordFeatures(Pieces(bundle.pieces), bundle.manifest.features, bundle.words)
    network = Network(config, features.n_rows, tag_set).eval()
    other = replace(
        bundle,
        manifest=replace(bundle.manifest, network=config),
        archive=to_archive(script(network), {}),
    )
    batch = make_batch([["Anna", "Berg", "went", "to", "Oslo"], ["Mira"]], features)

    def run(tagging: TaggingNetwork, precision: str) -> Tensor:
        vectors = tagging.word_vectors(batch.rows, batch.starts).to(number_format(precision))
        return tagging(vectors, batch.words, batch.lengths)[1]

    with torch.inference_mode():
        full, fewer = run(network, "fp32"), run(load_network(other, precision), precision)
    torch.testing.assert_close(full[batch.inside], fewer[batch.inside], atol=0.05, rtol=0)


def test_an_unknown_precision_is_refused_before_the_file_is_touched(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="auto, fp32, bf16, int8, not fp64"):
        load(tmp_path / "nowhere.teddy", precision="fp64")


def test_candidates_are_precisions_and_full_precision_is_always_one() -> None:
    assert set(candidates()) <= set(PRECISIONS) - {"auto"}
    assert "fp32" in candidates()
    assert "int8" not in candidates()  # its results depend on batch mates
    assert len(set(candidates())) == len(candidates())


@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize("vectors", [False, True])
def test_a_processor_has_bf16_when_it_multiplies_in_it_in_either_way_and_only_then_is_it_tried(
    tiles: bool, vectors: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    assert processor_has_bf16() is (tiles or vectors)
    assert ("bf16" in candidates()) is (tiles or vectors)
    assert has_fast_bf16(torch.device("cpu")) is (tiles or vectors)
    assert has_fast_bf16(torch.device("cuda"))


def test_auto_is_one_of_the_candidates_and_finds_the_same(
    tiny_model: Path, tiny_predictor: Predictor
) -> None:
    predictor = load(tiny_model)
    assert predictor.precision in candidates()
    assert found(predictor) == found(tiny_predictor)


@pytest.fixture
def fail_canary(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets `auto` try int8 and fp32, of which those named fail their canary, and int8 would win."""

    def fail(*precisions: str) -> None:
        monkeypatch.setattr(predictor, "candidates", lambda: ("int8", "fp32"))
        monkeypatch.setattr(predictor, "fastest", lambda passing: passing[0][0])
        monkeypatch.setattr(
            Predictor, "passes_canary", lambda self: self.precision not in precisions
        )

    return fail


@needs_int8
def test_auto_takes_the_fastest_that_passes_and_drops_what_fails_its_canary(
    tiny_model: Path, fail_canary: Callable[..., None]
) -> None:
    fail_canary()
    assert load(tiny_model).precision == "int8"
    fail_canary("int8")
    assert load(tiny_model).precision == "fp32"


@needs_int8
def test_a_model_that_fails_in_every_precision_is_refused_and_those_are_named(
    tiny_model: Path, fail_canary: Callable[..., None]
) -> None:
    fail_canary("int8", "fp32")
    with pytest.raises(ModelFileError, match="fails its canary in int8 and fp32"):
        load(tiny_model)


@needs_int8
def test_a_precision_that_was_asked_for_is_never_replaced_by_another(
    tiny_model: Path, fail_canary: Callable[..., None]
) -> None:
    fail_canary("int8")
    with pytest.raises(ModelFileError, match="fails its canary in int8"):
        load(tiny_model, precision="int8")


def test_an_lstm_does_not_learn_in_bf16_where_its_kernel_cannot_and_another_cell_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "kernel_has_bf16", lambda: False)
    with pytest.raises(TrainingError, match="leave it at auto"):
        device.check_number_format("bf16", "lstm", torch.device("cpu"))
    for wanted, cell, place in (
        ("bf16", "gru", "cpu"),
        ("auto", "lstm", "cpu"),
        ("bf16", "lstm", "cuda"),
    ):
        device.check_number_format(wanted, cell, torch.device(place))  # type: ignore[arg-type]


def test_without_a_kernel_in_bf16_the_weights_are_not_laid_out_and_the_results_are_nearly_the_same(
    tiny_model: Path, tiny_predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "kernel_has_bf16", lambda: False)
    assert cells.pack_lstm(nn.LSTM(2, 2).to(torch.bfloat16)) == []
    assert found(load(tiny_model, precision="bf16")) == found(tiny_predictor)


seconds = st.lists(st.floats(1, 100), min_size=7, max_size=7, unique=True)


@settings(deadline=None, max_examples=50)
@given(runs=st.lists(seconds, min_size=1, max_size=4), warm_up=st.floats(0, 1000))
def test_the_fastest_is_the_first_with_nearly_the_quickest_run_and_warming_up_counts_for_nothing(
    runs: list[list[float]], warm_up: float
) -> None:
    now = 0.0

    def call(durations: list[float]) -> Callable[[], None]:
        left = iter([warm_up, *durations])

        def advance() -> None:
            nonlocal now
            now += next(left)

        return advance

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "time", SimpleNamespace(perf_counter=lambda: now))
        chosen = fastest([(str(number), call(durations)) for number, durations in enumerate(runs)])
    best = [min(durations) for durations in runs]
    limit, rounding = 1.25 * min(best), 1e-9
    assert best[int(chosen)] <= limit + rounding
    assert all(seconds > limit - rounding for seconds in best[: int(chosen)])
