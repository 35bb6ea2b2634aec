"""Many batches on their way to a set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hashmatch.client.calls import Answer, Call
from hashmatch.client.changes import OnError, Part, add_parts, change_call, changed, removal_part
from hashmatch.database.columns import as_refs
from hashmatch.database.model import Batch, Counts, Removal
from hashmatch.vocabulary import require_text

#: Of one change, or an item more.
_LOAD_ROWS = 10_000
_LOAD_BYTES = 4 << 20


class Load:
    """Batches on their way, as changes of bounded size."""

    def __init__(self, set: str, batches: Iterable[Batch | Removal], on_error: OnError) -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
        self._set = require_text(set, "set name")
        self._batches = batches
        self._on_error: OnError = on_error
        self.counts = Counts()
        self._parts: list[Part] = []
        #: Of batches that were read, and of those what changes have been made of.
        self._read = 0
        self.done = 0

    def calls(self) -> Iterator[Call]:
        """A call for each change. `take` has to be given its answer before the next is asked
        for.
        """
        rows = size_bytes = 0
        for batch in self._batches:
            for part in self._cut(batch):
                self._parts.append(part)
                rows += len(part.rows)
                size_bytes += len(part.text)
                if rows >= _LOAD_ROWS or size_bytes >= _LOAD_BYTES:
                    yield self._call()
                    rows = size_bytes = 0
            self._read += len(batch.refs)
        if self._parts:
            yield self._call()

    def take(self, answer: Answer, server: str) -> int:
        """Count what a change did; its generation."""
        generation, counts = changed(answer, server, self._parts)
        for name in ("added", "updated", "removed", "unchanged", "opinions"):
            setattr(self.counts, name, getattr(self.counts, name) + getattr(counts, name))
        self.counts.rejected += counts.rejected
        self.done += sum(len(part.rows) + len(part.faults) for part in self._parts)
        self._parts = []
        return generation

    def _cut(self, batch: Batch | Removal) -> Iterator[Part]:
        if isinstance(batch, Removal):
            refs = as_refs(batch.refs)
            for begin in range(0, len(refs), _LOAD_ROWS):
                part = Removal(refs[begin : begin + _LOAD_ROWS], batch.contributor)
                yield removal_part(part, missing_ok=False, first_row=self._read + begin)
        else:
            yield from add_parts(batch, self._on_error, self._read, _LOAD_ROWS, _LOAD_BYTES)

    def _call(self) -> Call:
        return change_call(self._set, self._parts, self._on_error, None)
