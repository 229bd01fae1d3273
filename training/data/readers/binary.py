"""Readers of parquet, of the arrow files of Hugging Face datasets, and of spaCy's DocBin."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError, MissingExtraError
from teddy.model.tags.spans import Span
from teddy.training.data.readers.label_studio import RESPONSES
from teddy.training.data.readers.records import read_record
from teddy.training.data.readers.rows import Example
from teddy.training.recipe.corpus_config import FormatConfig

_BATCH_ROWS = 4096
_encode = json.JSONEncoder(ensure_ascii=False).encode
_NO_SPACY = ".spacy files need spaCy: pip install 'teddy[spacy]'"


def read_arrow(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the texts and sentences of a parquet file, an arrow file, or a folder of `datasets`.

    Errors name the row, from 1, as the line. Raises DataError; MissingExtraError without pyarrow.
    """
    for row, record in enumerate(arrow_records(path), start=1):
        meta = record.pop("meta", None)
        if isinstance(meta, str) and meta[:1] == "{":
            record = json.loads(meta) | record
        elif meta is not None:
            record["meta"] = meta
        yield from read_record(path, row, record, options, document=row - 1)


def arrow_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of `read_arrow` as Python values, without those that are null.

    A response that is null says that there is none.
    """
    for file in _arrow_files(path):
        with _opened(path):
            for batch in _batches(file):
                names = batch.schema.names
                for row in zip(*map(_values, batch.columns), strict=True):
                    pairs = zip(names, row, strict=True)
                    yield {
                        name: value
                        for name, value in pairs
                        if value is not None or name.endswith(RESPONSES)
                    }


def _values(column: Any) -> list[Any]:
    """Return a column as Python values; lists of structures several times faster than pyarrow."""
    import pyarrow as pa

    if pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type):
        structs, names = column.flatten(), [field.name for field in column.type.value_type]
        if column.null_count or structs.null_count:
            return [*column.to_pylist()]
        parts = zip(*(each.to_pylist() for each in structs.flatten()), strict=True)
        is_span = names == ["start", "end", "label"]
        flat = [*parts] if is_span else [dict(zip(names, part, strict=True)) for part in parts]
        ends = accumulate(column.value_lengths().to_pylist(), initial=0)
        return [flat[start:end] for start, end in pairwise(ends)]
    return [*column.to_pylist()]


def _arrow_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    splits = sorted(each.parent.name for each in path.glob("*/dataset_info.json"))
    if splits and not (path / "dataset_info.json").exists():
        cure = f"name one, such as {path.name}/{splits[0]}"
        raise DataError(path, None, f"a folder of splits: {', '.join(splits)}; {cure}")
    found = sorted(path.glob("*.arrow")) or sorted(path.glob("*.parquet"))
    if not found:
        raise DataError(path, None, "no .arrow or .parquet file in the folder")
    return found


def _batches(file: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix != ".arrow":
        # Row groups may be as large as the file: they are read in pieces.
        with pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False) as opened:
            yield from opened.iter_batches(_BATCH_ROWS)
        return
    with pa.memory_map(str(file)) as mapped:
        yield from _arrow_reader(mapped)


def _arrow_reader(mapped: Any) -> Iterator[Any]:
    import pyarrow as pa

    try:
        yield from pa.ipc.open_stream(mapped)
    except pa.ArrowInvalid:
        opened = pa.ipc.open_file(mapped)
        yield from (opened.get_batch(i) for i in range(opened.num_record_batches))


@contextmanager
def _opened(path: Path) -> Iterator[None]:
    """Turn the errors of pyarrow into those of data."""
    try:
        import pyarrow as pa
    except ImportError:
        reason = f"{path}: parquet and arrow need pyarrow: pip install 'teddy[parquet]'"
        raise MissingExtraError(reason) from None
    try:
        yield
    except FileNotFoundError:
        raise DataError(path, None, "no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(path, None, f"not a readable parquet or arrow file: {reason}") from None


def feature_names(path: Path, column: str) -> tuple[str, ...]:
    """Return the names of the numbers in a column of tags: of its features, or of a README."""
    if path.is_dir() and (path / "dataset_info.json").is_file():
        features = json.loads((path / "dataset_info.json").read_text("utf-8")).get("features") or {}
    elif path.suffix in (".parquet", ".arrow"):
        features = _features_of(path)
    else:
        features = {}
    feature = features.get(column)
    while feature and "names" not in (feature if isinstance(feature, dict) else {}):
        feature = feature[0] if isinstance(feature, list) else feature.get("feature")
    return tuple(feature["names"]) if feature else _names_of_readme(path, column)


def _features_of(path: Path) -> dict[str, Any]:
    with _opened(path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        if path.suffix == ".parquet":
            schema = pq.read_schema(path)
        else:
            with pa.memory_map(str(path)) as mapped:
                schema = pa.ipc.open_stream(mapped).schema
    stated = (schema.metadata or {}).get(b"huggingface")
    features: dict[str, Any] = json.loads(stated)["info"]["features"] if stated else {}
    return features


def _names_of_readme(path: Path, column: str) -> tuple[str, ...]:
    """Return the names that the head of a dataset's README.md gives the tags of a column."""
    readmes: Sequence[Path] = [each / "README.md" for each in (path, *path.parents[:2])]
    for readme in readmes:
        if readme.is_file():
            text = readme.read_text("utf-8", errors="replace")
            block = re.search(rf"- name: {re.escape(column)}\n(?:.*\n)*?\s*names:\n", text)
            if block:
                names = re.match(r"(?:\s*'?\d+'?: .+\n)+", text[block.end() :])
                found = re.findall(r"'?\d+'?: (.+)\n", names[0]) if names else []
                return tuple(name.strip("'\" ") for name in found)
    return ()


def read_docbin(path: Path) -> Iterator[Example]:
    """Yield the texts of a .spacy file with their entities.

    Raises DataError; MissingExtraError without spaCy.
    """
    try:
        import spacy
        from spacy.tokens import DocBin
    except ImportError:
        raise MissingExtraError(f"{path}: {_NO_SPACY}") from None
    try:
        stored = DocBin().from_disk(path)
        docs = list(stored.get_docs(spacy.blank("xx").vocab))
    except FileNotFoundError:
        raise DataError(path, None, "no such file") from None
    except Exception as error:  # zlib, msgpack and spaCy have errors of their own
        reason = f"not a DocBin of spaCy: {type(error).__name__}: {error}".partition("\n")[0]
        raise DataError(path, None, reason) from None
    for document, doc in enumerate(docs):
        spans = [Span(each.start_char, each.end_char, each.label_) for each in doc.ents]
        yield Example(
            text=doc.text,
            spans=tuple(spans),
            span_lines=(document + 1,) * len(spans),
            path=str(path),
            line=document + 1,
            is_sentence=False,
            document=document,
            tokens=tuple((token.idx, token.idx + len(token)) for token in doc),
        )


def write_parquet(
    path: Path,
    examples: Iterable[Example],
    tagged: Callable[[Example], tuple[list[str], list[str]]] | None,
) -> None:
    """Write texts with spans, or tokens with tags where `tagged` gives them, in constant memory.

    What else a record says is JSON in the column `meta`. Raises MissingExtraError without pyarrow.
    """
    with _opened(path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        text, texts = pa.string(), pa.list_(pa.string())
        span = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("label", text)])
        columns = [("tokens", texts), ("ner_tags", texts)]
        columns = [("text", text), ("entities", pa.list_(span))] if tagged is None else columns
        schema = pa.schema([*columns, ("meta", text)])
        with pq.ParquetWriter(
            path, schema, use_dictionary=["entities.list.element.label"]
        ) as writer:
            for batch in _batched(examples, _BATCH_ROWS):
                meta = [_encode(each.meta) if each.meta else None for each in batch]
                if tagged is None:
                    first = pa.array([each.text for each in batch], text)
                    second = _span_lists(batch, span)
                else:
                    pairs = [tagged(each) for each in batch]
                    first, second = (pa.array(each, texts) for each in zip(*pairs, strict=True))
                rows = pa.record_batch([first, second, pa.array(meta, text)], schema)
                writer.write_table(pa.Table.from_batches([rows]))  # a row group of its own


def _batched(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
    rest = iter(examples)  # itertools.batched is new in Python 3.12
    while batch := [*islice(rest, size)]:
        yield batch


def _span_lists(batch: Sequence[Example], span: Any) -> Any:
    """Return the spans of a batch as an array of arrow."""
    import pyarrow as pa

    spans = [each for example in batch for each in example.spans]
    counts = [0, *accumulate(len(example.spans) for example in batch)]
    values = [
        [each.start for each in spans],
        [each.end for each in spans],
        [each.label for each in spans],
    ]
    arrays = [pa.array(each, field.type) for each, field in zip(values, span, strict=True)]
    structs = pa.StructArray.from_arrays(arrays, fields=[*span])
    return pa.ListArray.from_arrays(pa.array(counts, pa.int32()), structs)


def write_docbin(
    path: Path,
    examples: Iterable[Example],
    token_spans: Callable[[Example], tuple[Sequence[tuple[int, int]], list[Span]]],
) -> None:
    """Write examples as a .spacy file, whose tokens are theirs.

    Raises DataError for spans that overlap, MissingExtraError without spaCy.
    """
    try:
        import spacy
        from spacy.tokens import Doc, DocBin
        from spacy.tokens import Span as Entity
    except ImportError:
        raise MissingExtraError(f"{path}: {_NO_SPACY}") from None
    stored, vocab = DocBin(), spacy.blank("xx").vocab
    for example in examples:
        places, spans = token_spans(example)
        words, spaces = _words_of_spacy(example.text, places)
        doc = Doc(vocab, words=words, spaces=spaces)
        entities = [
            doc.char_span(example_span.start, example_span.end, label=example_span.label)
            for example_span in example.spans
        ]
        try:
            doc.set_ents([each for each in entities if isinstance(each, Entity)])
        except ValueError:
            raise DataError(
                example.path, example.line, "spans overlap, which .spacy cannot say"
            ) from None
        if len(entities) != len(spans) or None in entities:
            raise DataError(example.path, example.line, "a span is not made of whole tokens")
        stored.add(doc)
    stored.to_disk(path)


def _words_of_spacy(text: str, places: Sequence[tuple[int, int]]) -> tuple[list[str], list[bool]]:
    """Return words that make up the whole text, and whether one space follows each."""
    words: list[str] = []
    spaces: list[bool] = []
    at = 0
    for start, end in [*places, (len(text), len(text))]:
        gap = text[at:start]
        if gap[:1] == " " and words:
            spaces[-1], gap = True, gap[1:]
        if gap:
            words.append(gap)
            spaces.append(False)
        if end > start:
            words.append(text[start:end])
            spaces.append(False)
        at = end
    return words, spaces
