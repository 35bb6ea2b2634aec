"""What is to be changed in a set, as it is sent; and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import quote
from uuid import uuid4

from hashmatch.client.calls import Answer, Call
from hashmatch.client.records import encoded, fields_of
from hashmatch.codes import Codes, as_codes, encode_hex
from hashmatch.database.columns import as_numbers, as_refs, gather, merged
from hashmatch.database.model import Batch, Counts, Labels, Removal
from hashmatch.database.opinions import stated_by
from hashmatch.hash_types import hash_type as find_type
from hashmatch.vocabulary import (
    MAX_QUALITY,
    MAX_TIME_MS,
    Fault,
    Kind,
    Numbers,
    Opinion,
    Verdict,
    is_unicode,
    ref_faults,
    require_text,
)

OnError: TypeAlias = Literal["raise", "skip"]


class Part(NamedTuple):
    """What one call adds, removes or says, or a part of it."""

    #: JSON of an object, without what all of them have.
    text: str
    #: Rows that are sent, by their numbers in the call.
    rows: Sequence[int] = ()
    #: Rows that are not.
    faults: Sequence[Fault] = ()
    #: Whether a removal of what is not there goes without saying.
    missing_ok: bool = False


class ClientChange:
    """A change to one hash set, collected here and made by the server when its block ends.

    What is called first is done first, and all of it is one transaction. A bad row or code is a
    ValueError at the call that has it, which then adds nothing.
    """

    def __init__(self, set: str, on_error: OnError) -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
        self._set = require_text(set, "set name")
        self._on_error: OnError = on_error
        self._parts: list[Part] = []
        self._checkpoint: str | None = None
        self._ended = False
        self._counts: Counts | None = None
        self._generation: int | None = None

    def add(
        self,
        hash_type: str,
        codes: Codes,
        *,
        refs: Sequence[str],
        labels: Labels = None,
        contributor: str | None = None,
        kind: Kind = "image",
        quality: Numbers = None,
        time_ms: Numbers = None,
    ) -> None:
        """Add items, or update those whose ref is there, as `hashmatch.database.Change.add`."""
        self.put(Batch(hash_type, codes, refs, labels, contributor, kind, quality, time_ms))

    def put(self, batch: Batch) -> None:
        """`add` for what is in a batch."""
        self._require_usable()
        self._parts += add_parts(batch, self._on_error)

    def remove(
        self, *, refs: Sequence[str], contributor: str | None = None, missing_ok: bool = False
    ) -> None:
        """Remove items. A ref that is not there is no error; without `missing_ok` it is noted in
        `counts.rejected`.
        """
        self._require_usable()
        self._parts.append(removal_part(Removal(refs, contributor), missing_ok))

    def opinion(
        self, ref: str, *, contributor: str, verdict: Verdict, labels: Sequence[str] = ()
    ) -> None:
        """Record a contributor's opinion on a ref, in place of an earlier one of theirs."""
        self.say([Opinion(ref, contributor, verdict, labels)])

    def say(self, opinions: Iterable[Opinion]) -> None:
        """`opinion` for each."""
        self._require_usable()
        self._parts.append(Part(_object(opinions=[_opinion(each) for each in opinions])))

    @property
    def checkpoint(self) -> str | None:
        """How far the set's feed has been followed, to be kept with the change: any text. None
        leaves what is kept as it is.
        """
        return self._checkpoint

    @checkpoint.setter
    def checkpoint(self, text: str | None) -> None:
        if text is not None and not isinstance(text, str):
            raise TypeError(f"checkpoint must be text, not {type(text).__name__}")
        if text is not None and not is_unicode(text):
            raise ValueError("checkpoint has half a surrogate pair, so is no Unicode text")
        self._checkpoint = text

    @property
    def counts(self) -> Counts:
        """What it did, once the block has ended."""
        if self._counts is None:
            raise ValueError("the change has not been made: its counts are known after the block")
        return self._counts

    @property
    def generation(self) -> int:
        """The generation that it made, once the block has ended."""
        if self._generation is None:
            raise ValueError(
                "the change has not been made: its generation is known after the block"
            )
        return self._generation

    def end(self) -> None:
        """Nothing more may be called."""
        self._ended = True

    @property
    def call(self) -> Call:
        """What is sent: one transaction, with a key of its own."""
        return change_call(self._set, self._parts, self._on_error, self._checkpoint)

    def made(self, answer: Answer, server: str) -> None:
        """Take the answer in."""
        self._generation, self._counts = changed(answer, server, self._parts)

    def _require_usable(self) -> None:
        if self._ended:
            raise ValueError("the change has ended: begin another")


def set_path(name: str, last: str = "") -> str:
    """The path of a set, whatever it is called."""
    # A name of dots would be taken for a step in the path.
    quoted = quote(require_text(name, "set name"), safe="").replace(".", "%2E")
    return f"/v1/sets/{quoted}{last}"


def change_call(set: str, parts: Sequence[Part], on_error: OnError, checkpoint: str | None) -> Call:
    """The call that makes a change."""
    texts = [part.text for part in parts]
    if checkpoint is not None or not texts:
        texts.append(_object(**({} if checkpoint is None else {"checkpoint": checkpoint})))
    if on_error == "skip":
        texts = [_with_skip(text) for text in texts]
    body = f"[{','.join(texts)}]".encode()
    return Call("POST", set_path(set, "/changes"), body=body, key=uuid4().hex)


def changed(answer: Answer, server: str, parts: Sequence[Part]) -> tuple[int, Counts]:
    """The generation that a change made, and what it did, row numbers being those of the calls."""
    fields = fields_of(answer, server)
    refused: dict[int, list[Fault]] = {}
    for row in fields.objects("rejected"):
        number, _, _ = row.text("field").partition(".")
        place = int(number) if number.isascii() and number.isdecimal() else len(parts)
        sent = row.whole("row")
        if place >= len(parts) or sent >= len(parts[place].rows):
            raise row.unusable("rejected", "names a row that was not sent")
        refused.setdefault(place, []).append((parts[place].rows[sent], row.text("reason")))
    counts = Counts(
        fields.whole("added"),
        fields.whole("updated"),
        fields.whole("removed"),
        fields.whole("unchanged"),
        fields.whole("opinions"),
    )
    for place, part in enumerate(parts):
        faults = [] if part.missing_ok else refused.get(place, [])
        counts.rejected += merged(0, list(part.faults), faults)
    return fields.whole("generation"), counts


# Parts.


def add_parts(
    batch: Batch,
    on_error: OnError,
    first_row: int = 0,
    most_rows: int | None = None,
    most_bytes: int | None = None,
) -> Iterator[Part]:
    """A batch in parts of about so many rows or bytes; without them, in one. Rows of one item stay
    together. ValueError or TypeError for what `Change.add` does not take.
    """
    items = gather(batch, on_error == "skip", first_row)
    refs = as_refs(batch.refs)
    if batch.contributor is not None:
        require_text(batch.contributor, "contributor", empty=True)
    said = [_opinion(each) for each in batch.opinions]
    rows = _grouped(refs, {row - first_row for row, _ in items.rejected})
    texts = _adds(batch, refs, rows)
    begin = size_bytes = 0
    for place, text in enumerate(texts):
        size_bytes += len(text)
        full = (most_rows is not None and place + 1 - begin >= most_rows) or (
            most_bytes is not None and size_bytes >= most_bytes
        )
        if full and place + 1 < len(rows) and refs[rows[place]] != refs[rows[place + 1]]:
            yield _add_part(texts, rows, slice(begin, place + 1), first_row)
            begin, size_bytes = place + 1, 0
    yield _add_part(texts, rows, slice(begin, None), first_row, said, items.rejected)


def _add_part(
    texts: Sequence[str],
    rows: Sequence[int],
    part: slice,
    first_row: int,
    said: Sequence[Any] = (),
    faults: Sequence[Fault] = (),
) -> Part:
    beside = f',"opinions":{encoded(said)}' if said else ""
    text = f'{{"adds":[{",".join(texts[part])}]{beside}}}'
    return Part(text, [row + first_row for row in rows[part]], faults)


def removal_part(removal: Removal, missing_ok: bool, first_row: int = 0) -> Part:
    """A removal of refs; TypeError or ValueError if they are none."""
    refs = as_refs(removal.refs)
    faults = ref_faults(refs)
    beside = _contributor(removal.contributor)
    bad = {row for row, _ in faults}
    rows = [row for row in range(len(refs)) if row not in bad]
    return Part(
        _object(removals=[{"ref": refs[row], **beside} for row in rows]),
        [row + first_row for row in rows],
        merged(first_row, faults),
        missing_ok,
    )


def _grouped(refs: Sequence[str], left_out: set[int]) -> list[int]:
    """The rows that are not left out, those of one ref beside each other."""
    rows = [row for row in range(len(refs)) if row not in left_out]
    places: dict[str, int] = {}
    for row in rows:
        places.setdefault(refs[row], len(places))
    return rows if len(places) == len(rows) else sorted(rows, key=lambda row: places[refs[row]])


def _adds(batch: Batch, refs: Sequence[str], rows: Sequence[int]) -> list[str]:
    """JSON of each of the rows."""
    codes = as_codes(batch.codes, find_type(batch.hash_type))
    digits = encode_hex(codes)
    quality, _ = as_numbers(batch.quality, len(refs), "quality", MAX_QUALITY)
    time_ms, _ = as_numbers(batch.time_ms, len(refs), "time_ms", MAX_TIME_MS)
    labels = batch.labels
    same = labels is not None and all(isinstance(label, str) for label in labels)
    shared = {"type": batch.hash_type, **_contributor(batch.contributor), "kind": batch.kind}
    texts = []
    for row in rows:
        add: dict[str, Any] = {"ref": refs[row], "hash": digits[row], **shared}
        if labels is not None:
            add["labels"] = list(labels) if same else list(labels[row])
        for name, numbers in (("quality", quality), ("time_ms", time_ms)):
            if numbers is not None and numbers[row] >= 0:
                add[name] = int(numbers[row])
        texts.append(encoded(add))
    return texts


def _opinion(opinion: Opinion) -> dict[str, Any]:
    stated_by(opinion)
    return {
        "ref": require_text(opinion.ref, "ref"),
        "contributor": require_text(opinion.contributor, "contributor", empty=True),
        "verdict": opinion.verdict,
        "labels": list(opinion.labels),
    }


def _contributor(name: str | None) -> dict[str, str]:
    return {} if name is None else {"contributor": require_text(name, "contributor", empty=True)}


def _object(**members: Any) -> str:
    return encoded(members)


def _with_skip(text: str) -> str:
    return '{"on_error":"skip"' + ("," if len(text) > 2 else "") + text[1:]
