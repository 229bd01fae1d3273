"""From a wrong answer to a better model: what is corrected over HTTP is what `teddy check` and
`teddy train` read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from teddy.model.predictor import Predictor, load
from teddy.model.text.words import Tokeniser, check_text
from teddy.training.data.align import align
from teddy.training.data.readers.records import read_records
from teddy.training.recipe.corpus_config import FormatConfig
from teddy.training.recipe.recipe import load_recipe
from teddy.training.run import train

pytestmark = pytest.mark.anyio

CORPUS = """
[[corpus]]
name = "corrections"
licence = "ours"
format = "jsonl"
train = ["feedback/*.jsonl"]
"""
PLACES = ("oslo", "lund", "ghent", "kiel", "bergen", "malmo")
TEXTS = [f"mira went to {place} ." for place in PLACES] + [
    f"the bears of {place} sleep ." for place in PLACES
]


def entities(text: str) -> list[dict[str, Any]]:
    """What somebody who knows would mark: names are names in small letters too."""
    names = [("PER", "mira"), *(("LOC", place) for place in PLACES)]
    found = [(text.find(name), name, label) for label, name in names if name in text]
    return [
        {"start": start, "end": start + len(name), "label": label}
        for start, name, label in sorted(found)
    ]


def wrong(predictor: Predictor) -> int:
    """How many texts have other entities than those that there are."""
    found = predictor.tag(TEXTS)
    return sum(
        [(each.start, each.end, each.label) for each in tagged]
        != [tuple(each.values()) for each in entities(text)]
        for text, tagged in zip(TEXTS, found, strict=True)
    )


async def test_a_model_learns_from_corrections(
    serving: Any,
    tiny_data: Path,
    tiny_predictor: Predictor,
    tmp_path: Path,
    shell: Callable[..., tuple[int, str, str]],
) -> None:
    wrong_before = wrong(tiny_predictor)
    assert wrong_before > len(TEXTS) / 4
    for name in ("train.conll", "dev.conll"):
        (tmp_path / name).symlink_to(tiny_data / name)
    recipe = tmp_path / "corrected.toml"
    recipe.write_text(
        (tiny_data / "tiny.toml").read_text().replace("\n[pieces]", CORPUS + "weight = 4\n[pieces]")
    )

    options = {"feedback_dir": tmp_path / "feedback", "feedback_file_bytes": 1000}
    async with serving(load=lambda _: tiny_predictor, **options) as client:
        for text in TEXTS:
            answered = await client.post("/v1/entities", json={"text": text})
            body = {"request_id": answered.headers["x-request-id"], "entities": entities(text)}
            assert (await client.post("/v1/feedback", json=body)).status_code == 201
    assert len(list((tmp_path / "feedback").glob("*.jsonl"))) > 1

    code, report, _ = shell("check", recipe, "--data", tmp_path)
    assert code == 0
    assert "corrections" in report
    train(load_recipe(recipe), tmp_path, tmp_path / "run")
    corrected = load(tmp_path / "run" / "tiny.teddy", precision="fp32")
    assert wrong(corrected) < wrong_before / 2


async def test_whatever_text_is_corrected_its_file_can_be_read(
    serving: Any, tmp_path: Path
) -> None:
    odd = [
        "",
        " ",
        "\0",
        "\n\r\n",
        "\u2028",
        '"\\',
        "\ufeffa",
        "Ada" * 5000,
        "a\u0301 \U0001f9f8",
        "\x85",
        "{}",
    ]
    async with serving(feedback_dir=tmp_path) as client:
        for text in odd:
            check_text(text)
            marked = [{"start": 0, "end": len(text), "label": "LONG"}] if text else []
            answer = await client.post("/v1/feedback", json={"text": text, "entities": marked})
            assert answer.status_code == 201
    (path,) = tmp_path.glob("*.jsonl")
    read = list(read_records(path, FormatConfig(format="jsonl")))
    assert [example.text for example in read] == odd
    for example in read:
        assert [(span.start, span.end) for span in example.spans] == [
            (0, len(example.text))
        ] * bool(example.text)
        align(example, "odd", Tokeniser(), lambda _: None)
