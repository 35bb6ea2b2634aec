"""Lists with a signal a line or row, which are those of one item as long as its ref goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hashmatch.formats.fields import FieldError
from hashmatch.formats.gathering import Gathering, Hash
from hashmatch.formats.model import ListError, Source
from hashmatch.formats.together import Together
from hashmatch.vocabulary import Kind, Opinion

#: Signals of one item, which are held together.
_MAX_SIGNALS = 1 << 20
_NOTED_AT_A_TIME = 4_096


class Lines:
    """Makes items of lines. `end` has to be called after the last one.

    For a database, lines of one item and type that are not beside each other are a ListError at the
    end, unless the item was removed between them: the later ones would replace the earlier ones.
    """

    def __init__(self, source: Source, gathering: Gathering, unit: str) -> None:
        """`unit` is what rows are called in messages."""
        self._name = source.name
        self._gathering = gathering
        self._together = Together(source.name, unit)
        self._for_database = source.for_database
        #: Items that are yet to be noted, each with the times that it was removed before.
        self._noted: list[tuple[str | None, str, str, int]] = []
        self._rows: list[int] = []
        self._removed: Counter[tuple[str | None, str]] = Counter()
        #: The item that the last line is of: contributor and ref; its kind, labels and so on.
        self._item: tuple[str | None, str] | None = None
        self._kind: Kind = "image"
        self._labels: Sequence[str] | None = None
        #: Those of all its lines, where it has several.
        self._all_labels: dict[str, None] | None = None
        self._hashes: list[Hash] = []
        #: By contributor and ref, as most lines say what those before them said.
        self._opinions: dict[tuple[str, str], Opinion] = {}

    def add(
        self,
        ref: str | None,
        hash: Hash | None,
        *,
        contributor: str | None = None,
        kind: Kind = "image",
        labels: Sequence[str] | None = None,
        opinions: Sequence[Opinion] = (),
    ) -> None:
        """Add a line: a hash of the item, or opinions on a ref alone. FieldError on another kind
        than that of the item's lines before.
        """
        if ref is None or hash is None:
            self._end_item()
            hashes = [] if hash is None else [hash]
            self._gathering.item(
                ref, hashes, contributor=contributor, kind=kind, labels=labels, opinions=opinions
            )
            return
        item = (contributor, ref)
        if item != self._item:
            self._end_item()
            self._item, self._kind, self._labels = item, kind, labels
            self._all_labels, self._hashes, self._opinions = None, [hash], {}
        else:
            self._go_on(hash, kind, labels)
        for each in opinions:
            self._opinions[each.contributor, each.ref] = each
        if self._for_database:
            self._note(item, hash)

    def remove(self, row: int, ref: str, contributor: str | None) -> None:
        self._end_item()
        if self._for_database:
            self._removed[contributor, ref] += 1
        self._gathering.remove(row, ref, contributor)

    def end(self) -> None:
        """ListError names lines of one item that are apart."""
        self._end_item()
        self._note_all()
        self._together.require()

    def _go_on(self, hash: Hash, kind: Kind, labels: Sequence[str] | None) -> None:
        """Add another line to the item."""
        if kind != self._kind:
            raise FieldError("kind", f"is {kind!r}, that of the item's lines before {self._kind!r}")
        self._hashes.append(hash)
        if len(self._hashes) > _MAX_SIGNALS:
            raise ListError(f"{self._name}: has an item of more than {_MAX_SIGNALS:,} signals")
        if labels is not None:
            if self._all_labels is None:
                self._all_labels = dict.fromkeys(self._labels or ())
            self._all_labels.update(dict.fromkeys(labels))

    def _end_item(self) -> None:
        if self._item is None:
            return
        contributor, ref = self._item
        self._item = None
        self._gathering.item(
            ref,
            self._hashes,
            contributor=contributor,
            kind=self._kind,
            labels=self._labels if self._all_labels is None else tuple(self._all_labels),
            opinions=list(self._opinions.values()),
        )

    def _note(self, item: tuple[str | None, str], hash: Hash) -> None:
        removed = self._removed[item] if self._removed else 0
        self._noted.append((*item, hash.hash_type, removed))
        self._rows.append(hash.row)
        if len(self._noted) >= _NOTED_AT_A_TIME:
            self._note_all()

    def _note_all(self) -> None:
        self._together.note(self._noted, self._rows)
        self._noted, self._rows = [], []
