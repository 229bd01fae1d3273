"""Rows of parquet files: a column is tagged, and `entities` is added (extra `parquet`).

A shard is as many row groups as come to SHARD_BYTES, at least one; it is tagged into a small
parquet file, and those are joined row group by row group.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from teddy.model.errors import DataError, MissingExtraError, TextError
from teddy.model.text.words import Text
from teddy.service.bulk import stream
from teddy.service.bulk.inputs import Options, Shard
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.records import Answer, TextTagger, check_field, entity_fields

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    raise MissingExtraError(
        "parquet files need the extra `parquet`: pip install 'teddy[parquet]'"
    ) from None

_ENTITY = {
    "start": pa.int64(),
    "end": pa.int64(),
    "label": pa.string(),
    "score": pa.float64(),
    "text": pa.string(),
}
ENTITIES = pa.list_(pa.struct(list(_ENTITY.items())))


def cut_rows(path: Path, text_field: str, shard_bytes: int) -> Iterator[Shard]:
    """Yield the shards of a file, at least one.

    Raises DataError for another format, and when there is no column `text_field` of strings or of
    lists of strings.
    """
    with _reading(path) as file:
        _with_column(path, file.schema_arrow, text_field)
        sizes = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
        start = line = number = n_bytes = n_rows = 0
        for group, row_group in enumerate(sizes, start=1):
            n_bytes += row_group.total_byte_size
            n_rows += row_group.num_rows
            if n_bytes >= shard_bytes or group == len(sizes):
                yield Shard(number=number, start=start, stop=group, line=line)
                start, line, number, n_bytes, n_rows = group, line + n_rows, number + 1, 0, 0
        if not sizes:
            yield Shard(number=0, start=0, stop=0, line=0)


def tag_rows(
    path: Path,
    shard: Shard,
    tagger: TextTagger,
    options: Options,
    output: BinaryIO,
    on_error: Callable[[Answer], object],
) -> Iterator[Progress]:
    """Write the rows of a shard with their entities, and yield the progress after each batch.

    A row whose text is null or unreadable gets null. A list is the words of a text, and offsets are
    in words. `read_bytes` are those of the texts. Raises
    DataError as `cut_rows`.
    """
    done = Progress()
    with _reading(path) as file:
        schema = _with_column(path, file.schema_arrow, options.text_field)
        with pq.ParquetWriter(output, schema) as writer:
            for group in range(shard.start, shard.stop):
                table = file.read_row_group(group)
                found: list[_Found] = []
                for row in range(0, table.num_rows, stream.BATCH_RECORDS):
                    batch = table.slice(row, stream.BATCH_RECORDS)
                    answers, progress = _tag_batch(
                        batch, shard.line + done.lines, tagger, options, on_error
                    )
                    found += answers
                    done += progress
                    yield done
                _write(writer, table, found, schema)


def join_rows(parts: Sequence[Path], target: Path) -> None:
    """Join files of one schema, with one row group in memory at a time."""
    with pq.ParquetFile(parts[0]) as first:
        schema = first.schema_arrow
    with pq.ParquetWriter(target, schema) as writer:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    writer.write_table(table, max(1, table.num_rows))


_Found = list[dict[str, object]] | None


def _tag_batch(
    batch: pa.Table,
    row: int,
    tagger: TextTagger,
    options: Options,
    on_error: Callable[[Answer], object],
) -> tuple[list[_Found], Progress]:
    """Return the entities of each row, None if it cannot be tagged; `row` rows came before."""
    texts = [_text(scalar, options.text_field) for scalar in batch.column(options.text_field)]
    good = [text for text in texts if not isinstance(text, ValueError)]
    tagged = iter(tagger.tag(good, **options.selection.options))
    found: list[_Found] = []
    errors: list[str] = []
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, ValueError):
            found.append([entity_fields(entity) for entity in options.selection.of(next(tagged))])
            continue
        found.append(None)
        errors.append(f"row {row + number}: {text}")
        name = _name(batch, number - 1) | {"row": row + number}
        on_error(Answer(b"", error=str(text), name=name))
    progress = Progress(
        read_bytes=sum(len("".join(text).encode()) for text in good),
        lines=len(texts),
        records=len(texts),
        words=sum(len(text.split() if isinstance(text, str) else text) for text in good),
        entities=sum(len(each) for each in found if each is not None),
        errors=len(errors),
        first_error=errors[0] if errors else "",
    )
    return found, progress


def _text(scalar: pa.Scalar, text_field: str) -> Text | ValueError:
    """Return the text or the words of a row, or the reason why there are none."""
    try:
        text: Text | None = scalar.as_py()
        if text is None:
            return ValueError("no text: it is null")
        check_field(text, text_field)
    except UnicodeDecodeError:
        return ValueError("not UTF-8")
    except (ValueError, TextError) as error:
        return ValueError(str(error))
    return text


def _name(batch: pa.Table, row: int) -> dict[str, object]:
    """Return the `id` of a row, if it has one that JSON can hold."""
    if "id" not in batch.schema.names:
        return {}
    value = batch.column("id")[row].as_py()
    return {"id": value} if isinstance(value, str | int) else {}


def _write(
    writer: pq.ParquetWriter, table: pa.Table, found: Sequence[_Found], schema: pa.Schema
) -> None:
    kept = [table.column(name) for name in schema.names[:-1]]
    tagged = pa.table([*kept, pa.array(found, ENTITIES)], schema=schema)
    writer.write_table(tagged, max(1, table.num_rows))


def _with_column(path: Path, schema: pa.Schema, text_field: str) -> pa.Schema:
    """Return the schema with `entities` as its last column, in place of an earlier one."""
    if text_field not in schema.names:
        reason = f"it has the columns {', '.join(schema.names)}, not {text_field} (--text-field)"
        raise DataError(path, None, reason)
    kind = schema.field(text_field).type
    of_words = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    value = kind.value_type if of_words or pa.types.is_dictionary(kind) else kind
    if value not in (pa.string(), pa.large_string(), pa.string_view()):
        wanted = "not of strings or of lists of words"
        raise DataError(path, None, f"its column {text_field} is of {kind}, {wanted}")
    if "entities" in schema.names:
        schema = schema.remove(schema.get_field_index("entities"))
    return schema.append(pa.field("entities", ENTITIES))


@contextmanager
def _reading(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except pa.ArrowInvalid as error:
        reason = f"not a parquet file that can be read: {' '.join(str(error).split())}"
        raise DataError(path, None, reason) from None
