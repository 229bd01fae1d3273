import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from teddy.model.predictor import Predictor
from teddy.service.bulk.inputs import Input, Options
from teddy.service.bulk.job import BulkJob, Summary, identity_of, run_job
from teddy.service.bulk.parquet import ENTITIES
from teddy.service.bulk.records import Format, Selection, answer_records
from teddy.service.bulk.records import Record as Line
from teddy.service.bulk.sharding import cut
from teddy.service.bulk.state import JobState
from teddy.service.bulk.workers import Alone, LoadedModel

TEXTS = [
    "Anna Berg went to Oslo .",
    None,
    "Nobody was there .",
    "In Lund , Mira met Otto Lind .",
    "",
] * 7
EVERYTHING = Selection()
MODEL = LoadedModel(name="tiny", version="1", labels=("PER",), precision="fp32")


def write(
    path: Path, column: str = "text", kind: pa.DataType | None = None, rows: int = 8
) -> pa.Table:
    table = pa.table(
        {
            "id": list(range(len(TEXTS))),
            column: pa.array(TEXTS, kind or pa.string()),
            "when": [[1.5, None]] * len(TEXTS),
        }
    )
    pq.write_table(table, path, row_group_size=rows)
    return table


def run(
    path: Path,
    target: Path,
    predictor: Predictor,
    shard_bytes: int = 1,
    text_field: str = "text",
    selection: Selection = EVERYTHING,
) -> Summary:
    options = Options(selection=selection, shard_bytes=shard_bytes, text_field=text_field)
    source = Input(path=path, form=Format.PARQUET, target=target)
    job = BulkJob(inputs=[source], options=options, with_errors=True)
    with JobState(target.with_name(f"{target.name}.state")).held() as state:
        state.begin(identity_of(job, MODEL), restart=True)
        return run_job(job, state, Alone(predictor))


def test_rows_get_the_entities_that_their_texts_get_in_lines_and_keep_all_else(
    tmp_path: Path, tiny_predictor: Predictor
) -> None:
    table = write(tmp_path / "in.parquet")
    summary = run(tmp_path / "in.parquet", tmp_path / "out.parquet", tiny_predictor)
    tagged = pq.read_table(tmp_path / "out.parquet")
    assert tagged.drop(["entities"]).equals(table)
    assert tagged.schema.field("entities").type == ENTITIES
    lines = [
        Line(number, (json.dumps({"text": text or ""}).encode(),))
        for number, text in enumerate(TEXTS, start=1)
    ]
    answers = answer_records(lines, Format.JSONL, tiny_predictor, Selection())
    wanted = [json.loads(answer.data)["entities"] for answer in answers]
    found = tagged.column("entities").to_pylist()
    assert found == [
        None if text is None else each for text, each in zip(TEXTS, wanted, strict=True)
    ]
    assert (summary.total.records, summary.total.errors) == (35, 7)
    reasons = [
        json.loads(line)
        for line in (tmp_path / "out.parquet.errors.jsonl").read_text().splitlines()
    ]
    assert [(reason["row"], reason["id"]) for reason in reasons] == [
        (number * 5 + 2, number * 5 + 1) for number in range(7)
    ]
    assert {reason["error"] for reason in reasons} == {"no text: it is null"}


def test_the_same_row_groups_come_out_however_they_are_shared_out(
    tmp_path: Path, tiny_predictor: Predictor
) -> None:
    write(tmp_path / "in.parquet")
    outputs = []
    for shard_bytes in (1, 1000, 1 << 30):
        target = tmp_path / f"out{shard_bytes}.parquet"
        run(tmp_path / "in.parquet", target, tiny_predictor, shard_bytes)
        outputs.append(target.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]
    metadata = pq.read_metadata(tmp_path / "out1.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [
        8,
        8,
        8,
        8,
        3,
    ]


def test_shards_are_whole_row_groups_and_know_their_first_row(tmp_path: Path) -> None:
    write(tmp_path / "in.parquet")
    source = Input(
        path=tmp_path / "in.parquet", form=Format.PARQUET, target=tmp_path / "out.parquet"
    )
    assert [(each.start, each.stop, each.line) for each in cut(source, shard_bytes=1)] == [
        (group, group + 1, 8 * group) for group in range(5)
    ]
    assert [(each.start, each.stop) for each in cut(source, shard_bytes=1 << 30)] == [(0, 5)]


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_strings_of_every_kind_are_tagged_in_the_column_that_is_named(
    tmp_path: Path, tiny_predictor: Predictor, kind: pa.DataType
) -> None:
    write(tmp_path / "in.parquet", "body", kind)
    run(tmp_path / "in.parquet", tmp_path / "out.parquet", tiny_predictor, text_field="body")
    write(tmp_path / "plain.parquet")
    run(tmp_path / "plain.parquet", tmp_path / "wanted.parquet", tiny_predictor)
    (found, wanted) = (
        pq.read_table(tmp_path / f"{name}.parquet").column("entities") for name in ("out", "wanted")
    )
    assert found.equals(wanted)


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list], ids=["list", "large_list"])
def test_lists_of_words_get_the_entities_that_they_get_in_lines(
    tmp_path: Path, tiny_predictor: Predictor, kind: Callable[[pa.DataType], pa.DataType]
) -> None:
    words = [text and text.split() for text in TEXTS] + [["Mira", ""], ["Mira", None]]
    column = pa.array(words, kind(pa.string()))
    pq.write_table(pa.table({"tokens": column}), tmp_path / "in.parquet", row_group_size=8)
    summary = run(
        tmp_path / "in.parquet", tmp_path / "out.parquet", tiny_predictor, text_field="tokens"
    )
    tagged = pq.read_table(tmp_path / "out.parquet")
    assert tagged.column("tokens").combine_chunks().equals(column)
    lines = [
        Line(number, (json.dumps({"tokens": each}).encode(),))
        for number, each in enumerate(words, start=1)
    ]
    answers = answer_records(lines, Format.JSONL, tiny_predictor, Selection(), "tokens")
    wanted = [json.loads(answer.data).get("entities") for answer in answers]
    assert tagged.column("entities").to_pylist() == wanted
    assert wanted[-2:] == [None, None]
    assert summary.total.words == sum(answer.n_words for answer in answers)
    assert summary.total.errors == sum(bool(answer.error) for answer in answers)


def test_a_threshold_holds_for_rows_as_for_lines(tmp_path: Path, tiny_predictor: Predictor) -> None:
    write(tmp_path / "in.parquet")
    high = Selection(threshold=1.0)
    run(tmp_path / "in.parquet", tmp_path / "out.parquet", tiny_predictor, selection=high)
    found = pq.read_table(tmp_path / "out.parquet").column("entities").to_pylist()
    line = Line(1, (json.dumps({"text": TEXTS[0]}).encode(),))
    (of_line,), (usual,) = (
        answer_records([line], Format.JSONL, tiny_predictor, each) for each in (high, EVERYTHING)
    )
    assert found[0] == json.loads(of_line.data)["entities"] != json.loads(usual.data)["entities"]


def test_entities_from_before_are_replaced_and_no_rows_stay_no_rows(
    tmp_path: Path, tiny_predictor: Predictor
) -> None:
    write(tmp_path / "in.parquet")
    run(tmp_path / "in.parquet", tmp_path / "once.parquet", tiny_predictor)
    run(tmp_path / "once.parquet", tmp_path / "twice.parquet", tiny_predictor)
    assert pq.read_table(tmp_path / "twice.parquet").equals(
        pq.read_table(tmp_path / "once.parquet")
    )
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "none.parquet")
    run(tmp_path / "none.parquet", tmp_path / "nothing.parquet", tiny_predictor)
    assert pq.read_table(tmp_path / "nothing.parquet").column_names == ["text", "entities"]


def test_files_without_texts_are_left_out_with_the_reason(
    tmp_path: Path, tiny_predictor: Predictor
) -> None:
    write(tmp_path / "in.parquet", "body")
    (tmp_path / "no.parquet").write_text("no such thing")
    reasons = [
        run(tmp_path / name, tmp_path / "out.parquet", tiny_predictor, text_field=field).refused[0]
        for name, field in (("in.parquet", "text"), ("in.parquet", "id"), ("no.parquet", "text"))
    ]
    for reason, wanted in zip(
        reasons,
        [
            "in.parquet: it has the columns id, body, when, not text",
            "column id is of int64",
            "not a parquet file",
        ],
        strict=True,
    ):
        assert wanted in reason
