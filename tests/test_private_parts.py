"""What Teddy takes of torch and prometheus_client that they do not document, by name.

When a release lacks one of them, this says which. (tests/service/test_uvicorn_parts.py does the
same for uvicorn.)"""

import re
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry, Histogram

ROOT = Path(__file__).parents[1]
OF_TORCH = {
    "torch._foreach_lerp_": "the running average of weights, all at once",
    "torch.cpu._is_amx_tile_supported": "whether bf16 is fast here",
    "torch.cpu._is_avx512_bf16_supported": "whether bf16 is fast here",
    "torch.cpu._is_vnni_supported": "whether eight bits of ONNX's weights are safe here",
    "torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight": "the weights of packed_lstm",
}


def test_no_other_private_name_of_torch_is_used() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for room in ("model", "training", "service")
        for path in (ROOT / room).rglob("*.py")
    ]
    found = {name for source in sources for name in re.findall(r"\btorch(?:\.\w+)*\._\w+", source)}
    assert found - {"torch.__version__"} == OF_TORCH.keys()


@pytest.mark.parametrize("name", OF_TORCH)
def test_torch_has_the_private_name(name: str) -> None:
    try:
        found: Any = reduce(getattr, name.split(".")[1:], torch)
    except AttributeError:
        pytest.fail(f"torch {torch.__version__} has no {name}: {OF_TORCH[name]}")
    assert callable(found)


def test_a_histogram_of_prometheus_client_has_bounds_buckets_and_a_sum() -> None:
    """As service/observability/instruments.py adds many observations at once."""
    histogram: Any = Histogram("waits", "Seconds.", buckets=(1, 2), registry=CollectorRegistry())
    assert histogram._upper_bounds == [1.0, 2.0, float("inf")]
    histogram._buckets[1].inc(3)
    histogram._sum.inc(4.5)
    samples = {
        sample.labels.get("le", sample.name): sample.value
        for metric in histogram.collect()
        for sample in metric.samples
    }
    assert samples["2.0"] == samples["+Inf"] == samples["waits_count"] == 3
    assert samples["waits_sum"] == 4.5
