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
_BATCH_BYTES = 16 << 20
#: Rows of Parquet that are decoded at a time: few, as one long text may stand for all of them.
_PIECE_ROWS = 256
_BUFFER_BYTES = 1 << 20

_Result = TypeVar("_Result")


def parquet_batches(source: Source) -> Iterator[Any]:
    """The record batches (pyarrow) of a Parquet file, one row group after another."""
    pyarrow, parquet = need("pyarrow", "arrow"), need("pyarrow.parquet", "arrow")
    with _path(source) as path:

        def opened() -> Any:
            file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)
            return file.iter_batches(_PIECE_ROWS, use_threads=False)

        held: list[Any] = []
        rows = size = 0
        for batch in _validated(source, _called(source, opened)):
            held.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= _BATCH_ROWS or size >= _BATCH_BYTES:
                yield from _united(source, pyarrow, held)
                held, rows, size = [], 0, 0
        yield from _united(source, pyarrow, held)


def _united(source: Source, pyarrow: Any, batches: list[Any]) -> list[Any]:
    """Batches as one, or as few as can be."""

    def united() -> list[Any]:
        found: list[Any] = pyarrow.Table.from_batches(batches).combine_chunks().to_batches()
        return found

    return _called(source, united) if batches else []


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


def is_dictionary(column: Any) -> bool:
    """Whether equal values of a column are shared."""
    return hasattr(column, "dictionary")


def values(source: Source, column: Any) -> list[Any]:
    """The values of a column (a pyarrow array) as Python has them."""

    def listed() -> list[Any]:
        if not is_dictionary(column):
            found: list[Any] = column.to_pylist()
            return found
        # A dictionary may be much larger than this part of its column, or its values long.
        used = column.indices.dictionary_encode()
        texts = column.dictionary.take(used.dictionary).to_pylist()
        return [None if place is None else texts[place] for place in used.indices.to_pylist()]

    return _called(source, listed)


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
