"""Parquet and Arrow IPC files, batch after batch, each validated before anything of it is used."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hashmatch.extras import need
from hashmatch.formats.fields import clipped
from hashmatch.formats.model import ListError, Source

PARQUET_MAGIC = b"PAR1"
FILE_MAGIC = b"ARROW1\0\0"
#: What an IPC stream's messages begin with; then come their sizes.
STREAM_MAGIC = b"\xff\xff\xff\xff"

_BATCH_ROWS = 16_384
_BUFFER_BYTES = 1 << 20

_Result = TypeVar("_Result")


def parquet_batches(source: Source) -> Iterator[Any]:
    """The record batches (pyarrow) of a Parquet file, one row group after another."""
    pyarrow, parquet = need("pyarrow", "arrow"), need("pyarrow.parquet", "arrow")
    with _path(source) as path:

        def opened(dictionaries: list[str] | None) -> Any:
            return parquet.ParquetFile(
                path,
                read_dictionary=dictionaries,
                pre_buffer=False,
                buffer_size=_BUFFER_BYTES,
            )

        file = _called(source, lambda: opened(None))
        schema = _called(source, lambda: file.schema_arrow)
        # One long text can stand for all rows of a batch: it is not written out for each.
        texts = [field.name for field in schema if _is_text(pyarrow, field.type)]
        file = _called(source, lambda: opened(texts))
        batches = _called(source, lambda: file.iter_batches(_BATCH_ROWS, use_threads=False))
        yield from _validated(source, batches)


def ipc_batches(source: Source) -> Iterator[Any]:
    """The record batches (pyarrow) of an Arrow IPC file or stream, cut to some thousand rows."""
    pyarrow, ipc = need("pyarrow", "arrow"), need("pyarrow.ipc", "arrow")
    with _path(source) as path, _called(source, lambda: pyarrow.memory_map(path)) as file:
        magic = file.read(len(FILE_MAGIC))
        file.seek(0)
        if magic == FILE_MAGIC:
            reader = _called(source, lambda: ipc.open_file(file))
            numbers = range(_called(source, lambda: reader.num_record_batches))
            batches = map(reader.get_batch, numbers)
        else:
            batches = iter(_called(source, lambda: ipc.open_stream(file)))
        for batch in _validated(source, batches):
            for begin in range(0, batch.num_rows, _BATCH_ROWS):
                yield batch.slice(begin, _BATCH_ROWS)


def columns_of(source: Source, batch: Any) -> dict[str, Any]:
    """The columns of a batch by name. ListError if a name is there twice."""
    names: list[str] = _called(source, lambda: batch.schema.names)
    if len(set(names)) < len(names):
        listed = ", ".join(map(clipped, names))
        raise ListError(f"{source.name}: a column name is there twice in {listed}")
    return dict(zip(names, batch.columns, strict=True))


def values(source: Source, column: Any) -> list[Any]:
    """The values of a column (a pyarrow array) as Python has them; equal ones may be shared."""

    def listed() -> list[Any]:
        if not hasattr(column, "dictionary"):
            found: list[Any] = column.to_pylist()
            return found
        texts = column.dictionary.to_pylist()
        return [None if place is None else texts[place] for place in column.indices.to_pylist()]

    return _called(source, listed)


def written_out(source: Source, column: Any, longest: int) -> Any:
    """A column in which equal values are not shared, if they are no longer than that."""
    if not hasattr(column, "dictionary"):
        return column
    texts = _called(source, column.dictionary.to_pylist)
    if max((len(text) for text in texts if text is not None), default=0) > longest:
        return column
    return _called(source, column.dictionary_decode)


def _is_text(pyarrow: Any, type: Any) -> bool:
    types = pyarrow.types
    return any(
        check(type)
        for check in (
            types.is_string,
            types.is_large_string,
            types.is_binary,
            types.is_large_binary,
        )
    )


@contextmanager
def _path(source: Source) -> Iterator[str]:
    """Where the file is, or a copy of what is no file of its own: tables are read at their ends."""
    if source.path is not None:
        yield source.path
        return
    with tempfile.NamedTemporaryFile() as copy:
        shutil.copyfileobj(source.file, copy, _BUFFER_BYTES)
        copy.flush()
        yield copy.name


def _validated(source: Source, batches: Iterable[Any]) -> Iterator[Any]:
    iterator = iter(batches)

    def following() -> Any:
        batch = next(iterator, None)
        if batch is not None:
            batch.validate(full=True)
        return batch

    while (batch := _called(source, following)) is not None:
        yield batch


def _called(source: Source, call: Callable[[], _Result]) -> _Result:
    """What a call to pyarrow returns. It raises of every kind over files that are damaged."""
    try:
        return call()
    except OSError as error:
        if error.errno is not None:
            raise
        raise ListError(f"{source.name}: {_reason(error)}") from None
    except Exception as error:
        raise ListError(f"{source.name}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """The first line of what pyarrow says."""
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"cannot be read: {text[:200]}"
