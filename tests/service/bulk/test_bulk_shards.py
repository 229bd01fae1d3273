import io
import itertools
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.errors import DataError
from teddy.service.bulk.inputs import (
    Packing,
    Shard,
    find_inputs,
    guess_format,
    is_single_file,
    open_unpacked,
    packed_into,
    packing_of,
    single_input,
    unpacked_name,
)
from teddy.service.bulk.records import Format, ends_record
from teddy.service.bulk.sharding import cut, cut_lines

LINES = st.lists(
    st.sampled_from(
        [b"\n", b" \r\n", b"\t\n", b"Ada\n", b"Ada x\r\n", b"\xff\n", b"long " * 9 + b"\n"]
    )
)
LAST = st.sampled_from([b"", b"Bob", b" "])
FORMS = st.sampled_from([Format.TEXT, Format.JSONL, Format.CONLL])


def ends_of_records(content: bytes, form: Format) -> list[int]:
    """Found in the obvious way: from the beginning, line by line."""
    lines = io.BytesIO(content).readlines()
    ends = itertools.accumulate(map(len, lines))
    return [
        end
        for line, end in zip(lines, ends, strict=True)
        if ends_record(line, form) or end == len(content)
    ]


@given(LINES, LAST, FORMS, st.integers(1, 60))
def test_shards_end_with_the_first_record_that_reaches_a_multiple(
    lines: list[bytes], last: bytes, form: Format, shard_bytes: int
) -> None:
    content = b"".join(lines) + last
    shards = list(cut_lines(io.BytesIO(content), form, shard_bytes))
    ends = ends_of_records(content, form)
    wanted = sorted(
        {
            next(end for end in ends if end >= min(limit, len(content)))
            for limit in range(shard_bytes, len(content) + shard_bytes, shard_bytes)
        }
        if content
        else {0}
    )
    assert [shard.stop for shard in shards] == wanted
    assert [shard.start for shard in shards] == [0, *wanted[:-1]]
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert [shard.line for shard in shards] == [
        content[: shard.start].count(b"\n") for shard in shards
    ]


def test_a_line_longer_than_what_is_read_at_once_is_not_cut() -> None:
    content = b" " * (3 << 20) + b"Ada\n" + b"\n" + b"Bob\n"
    (first, second) = cut_lines(io.BytesIO(content), Format.CONLL, 1 << 20)
    assert (first.stop, second.line) == (len(content) - 4, 2)


@given(st.lists(st.binary(max_size=40), max_size=4), st.sampled_from(Packing))
def test_what_is_packed_in_parts_is_what_the_parts_hold(
    parts: list[bytes], packing: Packing
) -> None:
    joined = io.BytesIO()
    for part in parts:
        with packed_into(joined, packing) as packed:
            packed.write(part)
    again = io.BytesIO()
    for part in parts:
        with packed_into(again, packing) as packed:
            packed.write(part)
    assert joined.getvalue() == again.getvalue()
    if packing is Packing.GZIP and parts:  # by another implementation
        rest, found = joined.getvalue(), b""
        while rest:
            unpacker = zlib.decompressobj(wbits=31)
            found += unpacker.decompress(rest)
            rest = unpacker.unused_data
        assert found == b"".join(parts)


@pytest.mark.parametrize("packing", list(Packing), ids=lambda packing: packing.name)
def test_a_packed_file_is_cut_like_the_plain_one_and_read_from_any_place(
    tmp_path: Path, packing: Packing
) -> None:
    content = b"".join(b"line %d\n" % number for number in range(2000))
    path = tmp_path / f"in.txt{packing.value}"
    packed_content = io.BytesIO()
    with packed_into(packed_content, packing) as packed:
        packed.write(content)
    path.write_bytes(packed_content.getvalue())
    source = single_input(path, tmp_path / "out.jsonl")
    shards = list(cut(source, shard_bytes=1000))
    assert shards == list(cut_lines(io.BytesIO(content), Format.TEXT, 1000))
    with open_unpacked(path, packing_of(path)) as unpacked:
        for shard in [*shards[::2], shards[1]]:
            unpacked.seek(shard.start)
            assert unpacked.read(shard.stop - shard.start) == content[shard.start : shard.stop]


@pytest.mark.parametrize("ending", [packing.value for packing in Packing if packing])
def test_a_packed_file_that_is_torn_or_foreign_is_named(tmp_path: Path, ending: str) -> None:
    whole = io.BytesIO()
    with packed_into(whole, Packing(ending)) as packed:
        packed.write(bytes(range(256)) * 100)
    for content in (whole.getvalue()[:-5], b"no such thing at all"):
        (tmp_path / f"in.txt{ending}").write_bytes(content)
        with pytest.raises(DataError, match=rf"in\.txt{ending}: cannot be unpacked"):
            list(cut(single_input(tmp_path / f"in.txt{ending}", tmp_path / "out.jsonl")))


def lay_out(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def targets(folder: Path, *sources: Path, form: Format | None = None) -> dict[str, str]:
    found = find_inputs(sources, folder / "out", form)
    return {
        str(each.path.relative_to(folder)): str(each.target.relative_to(folder / "out"))
        for each in found
    }


def test_a_folder_stands_for_the_known_files_below_it_sorted(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        "c/b.conll",
        "c/a.txt.gz",
        "c/sub/rows.parquet",
        "c/sub/notes.docx",
        "c/.hidden.txt",
        "c/z.ndjson.zst",
    )
    assert list(targets(tmp_path, tmp_path / "c").items()) == [
        ("c/a.txt.gz", "a.jsonl.gz"),
        ("c/b.conll", "b.conll"),
        ("c/sub/rows.parquet", "sub/rows.parquet"),
        ("c/z.ndjson.zst", "z.ndjson.zst"),
    ]


def test_a_pattern_goes_through_folders_and_keeps_those_below_its_fixed_part(
    tmp_path: Path,
) -> None:
    lay_out(tmp_path, "c/x/1.txt", "c/x/y/2.txt", "c/3.txt", "c/4.jsonl", "out/x/1.txt")
    assert targets(tmp_path, tmp_path / "c" / "**" / "*.txt") == {
        "c/3.txt": "3.jsonl",
        "c/x/1.txt": "x/1.jsonl",
        "c/x/y/2.txt": "x/y/2.jsonl",
    }
    # and nothing of the output
    assert targets(tmp_path, tmp_path / "**" / "1.txt") == {"c/x/1.txt": "c/x/1.jsonl"}


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    lay_out(tmp_path, "a[1].txt", "a1.txt")
    assert targets(tmp_path, tmp_path / "a[1].txt") == {"a[1].txt": "a[1].jsonl"}
    assert is_single_file([tmp_path / "a[1].txt"])
    assert not is_single_file([tmp_path / "a*.txt"])


def test_a_format_that_is_said_makes_every_ending_known(tmp_path: Path) -> None:
    lay_out(tmp_path, "c/a.log", "c/b.txt.gz")
    assert targets(tmp_path, tmp_path / "c", form=Format.TEXT) == {
        "c/a.log": "a.log.jsonl",
        "c/b.txt.gz": "b.jsonl.gz",
    }


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        (["a.txt", "sub/a.txt"], "its output would be .*a.jsonl, and so would that of"),
        (["a.txt", "a.jsonl"], "its output would be .*a.jsonl, and so would that of"),
        (["no*.txt"], "there is no file to tag"),
        (["empty"], "there is no file to tag"),
        (["a.docx"], r"its ending is none of \.txt.*--format"),
        (["out/a.jsonl"], "is the input as well"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_inputs_that_make_no_sense_are_refused(
    tmp_path: Path, sources: list[str], reason: str
) -> None:
    lay_out(tmp_path, "a.txt", "a.jsonl", "sub/a.txt", "a.docx", "out/a.jsonl", "empty/.x")
    with pytest.raises(DataError, match=reason):
        find_inputs([tmp_path / source for source in sources], tmp_path / "out")


def test_a_file_that_is_missing_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_inputs([tmp_path / "nowhere.txt"], tmp_path / "out")


def test_rows_become_rows_and_lines_lines(tmp_path: Path) -> None:
    for source, target in (("a.parquet", "a.jsonl"), ("a.txt", "a.parquet")):
        with pytest.raises(DataError, match="rows become rows"):
            single_input(tmp_path / source, tmp_path / target)


def test_the_ending_before_that_of_the_packing_tells_the_format() -> None:
    assert guess_format(Path("a.jsonl.ZST")) is Format.JSONL
    assert unpacked_name(Path("a.jsonl.ZST")) == Path("a.jsonl")
    assert Shard(number=0, start=0, stop=0, line=0) == next(cut_lines(io.BytesIO(), Format.TEXT, 5))
