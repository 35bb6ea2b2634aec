"""One change to a hash set: additions, removals and opinions, kept together or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from hashmatch.codes import Codes
from hashmatch.database.columns import Items, as_refs, gather, merged
from hashmatch.database.connections import Connection
from hashmatch.database.model import Batch, Counts, Labels, Removal, SegmentRecord, now_ms
from hashmatch.database.opinions import OpinionRows, Stated, stated_by
from hashmatch.database.packing import type_names
from hashmatch.database.rows import (
    ItemRows,
    Known,
    Version,
    contributor_number,
    list_segment,
    no_such_set,
)
from hashmatch.database.snapshot import Snapshot
from hashmatch.vocabulary import (
    Kind,
    Numbers,
    Opinion,
    Verdict,
    is_unicode,
    ref_faults,
    require_text,
)

OnError: TypeAlias = Literal["raise", "skip"]

#: Items held before they are written, so that a change of any size takes little memory; an item
#: counts for its signals and about so much besides.
_HELD_BYTES = 64 << 20
_ITEM_BYTES = 500


class Change:
    """A change to one hash set: what `Catalog.change` gives.

        with catalog.change("member-a", who="feed") as change:
            change.add("pdq", codes, refs=refs)
            change.remove(refs=withdrawn)
            change.checkpoint = "page 7"

    What is called first is done first. Items are known by contributor and ref: adding one as it is
    changes nothing, adding it otherwise updates it. Nobody sees anything of the change until the
    block ends; then all of it is one generation. If the block raises, nothing of it is kept.

    A change is for one thread.
    """

    def __init__(self, connection: Connection, set_name: str, who: str, on_error: OnError) -> None:
        """`connection` is in a transaction, which the caller ends."""
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
        self._connection = connection
        self._who = require_text(who, "who", empty=True)
        self._skip = on_error == "skip"
        columns = "SELECT number, contributor, checkpoint FROM hash_set WHERE name = ?"
        found = connection.rows(columns, (require_text(set_name, "set name"),))
        if not found:
            raise no_such_set(connection, set_name)
        self.set_number, self._owner, self._checkpoint = found[0]
        (last,) = connection.row("SELECT coalesce(max(number), 0) FROM generation")
        #: The generation that this change makes.
        self.generation = int(last) + 1
        self.counts = Counts()
        self.rows = ItemRows(connection, self.set_number, self.generation)
        self._opinions = OpinionRows(connection, self.set_number, self.generation)
        self._contributors: dict[str, int] = {}
        #: Items met since the last flush: as they are stored, and as they are to be.
        self._known: dict[tuple[int, str], Known | None] = {}
        self._wanted: dict[tuple[int, str], Version | None] = {}
        self._held_bytes = 0
        #: The next signal id when `replace` was called, and what was met since the last flush of
        #: the items that were not added since then.
        self._replaced_from: int | None = None
        self._opinions_of: str | None = None
        self._old: set[tuple[int, str]] = set()
        self._ended = False

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
        """Add items, or update those whose ref is there.

        `codes` are anything that `hashmatch.codes.as_codes` takes, `refs` one text for each code.
        Codes with one ref are one item's signals, such as a video's frames, whose qualities
        (0..100) and times stand beside them. They replace the item's signals of this hash type;
        those of other types stay. `labels`: one list for all, or one for each code (an item then
        has those of all its codes); None leaves an item's labels as they are. `contributor` None is
        the set's owner.

        A ref is 1 to 1,024 bytes of UTF-8 without NUL. A bad row (its ref, quality or time) is a
        ValueError that names it, or with on_error="skip" left out and noted in `counts.rejected`.
        A bad code is always a ValueError. An add that raises has added nothing.
        """
        self.put(Batch(hash_type, codes, refs, labels, contributor, kind, quality, time_ms))

    def put(self, batch: Batch, first_row: int = 0) -> None:
        """`add` for what is in a batch; rows are counted from `first_row`."""
        items = self.take(batch, first_row)
        contributor = self.contributor(batch.contributor)
        self._look_up(contributor, items.refs)
        labels = items.labels or [None] * len(items.refs)
        columns = zip(items.refs, labels, items.counts, items.runs, strict=True)
        for ref, text, count, run in columns:
            version = Version(items.kind, text, count, items.type_bit, run)
            self._want(contributor, ref, version, keep_labels=items.labels is None)
        self.say(batch.opinions)
        self._flush_if_large()

    def put_whole(self, batches: Iterable[Batch]) -> None:
        """Add items, or update them to be just what the batches say of them: signals of hash types
        that no batch has for an item, and labels that none gives, are gone. Errors are those of
        `add`; a call that raises has put nothing.
        """
        whole: dict[tuple[int, str], Version] = {}
        said: list[Opinion] = []
        for batch in batches:
            items = self.take(batch)
            contributor = self.contributor(batch.contributor)
            labels = items.labels or [None] * len(items.refs)
            columns = zip(items.refs, labels, items.counts, items.runs, strict=True)
            for ref, text, count, run in columns:
                key = (contributor, ref)
                version = Version(items.kind, text, count, items.type_bit, run)
                before = whole.get(key)
                if before:
                    version = before.with_run(version, keep_labels=items.labels is None)
                whole[key] = version
            said += batch.opinions
        for contributor in {contributor for contributor, _ in whole}:
            self._look_up(contributor, [ref for other, ref in whole if other == contributor])
        for key, version in whole.items():
            self._settle(key, version)
        self.say(said)
        self._flush_if_large()

    def replace(self, opinions_of: str | None = None) -> None:
        """What is added from here on is all that the set is to hold. Items that are not, even as
        they already were, are removed when the block ends, as are other signals and labels of those
        that are. Until then, as ever, nothing is seen of it. Opinions stay, but for those of
        contributors whose names begin with `opinions_of` on refs that are left without an item.
        """
        self._require_usable()
        self.flush()
        self._replaced_from = self.rows.end
        self._opinions_of = opinions_of
        self.rows.begin_keeping()

    def keep(self, *, refs: Sequence[str], contributor: str | None = None) -> None:
        """Leave items as they are, where `replace` would remove them; refs that are not there are
        passed over.
        """
        self._require_usable()
        number = self.contributor(contributor)
        self._look_up(number, refs)
        for ref in refs:
            if live := self._wanted[number, ref]:
                self._settle((number, ref), live)
        self._flush_if_large()

    def say(self, opinions: Iterable[Opinion]) -> None:
        """`opinion` for each."""
        for each in opinions:
            self.opinion(
                each.ref, contributor=each.contributor, verdict=each.verdict, labels=each.labels
            )

    def take(self, batch: Batch, first_row: int = 0) -> Items:
        """The items of a batch, with its bad rows noted."""
        self._require_usable()
        items = gather(batch, self._skip, first_row)
        self.counts.rejected += items.rejected
        return items

    def put_again(self, appended: Sequence[tuple[int, str, Known]]) -> None:
        """Put what was appended although its ref was known; the appended rows are withdrawn."""
        self.rows.withdraw([row for _, _, row in appended])
        for contributor in {contributor for contributor, _, _ in appended}:
            self._look_up(contributor, [ref for other, ref, _ in appended if other == contributor])
        for contributor, ref, row in appended:
            if row.live:
                self.counts.added -= 1
                self._want(contributor, ref, row.live, keep_labels=row.live.labels is None)
        self._flush_if_large()

    def remove(
        self, *, refs: Sequence[str], contributor: str | None = None, missing_ok: bool = False
    ) -> None:
        """Remove items. A ref that is not there is no error; without `missing_ok` it is noted in
        `counts.rejected`.
        """
        self.take_out(Removal(refs, contributor), missing_ok=missing_ok)

    def take_out(self, removal: Removal, first_row: int = 0, missing_ok: bool = False) -> None:
        """`remove` for what is in a removal; rows are counted from `first_row`."""
        self._require_usable()
        texts = as_refs(removal.refs)
        faults = dict(ref_faults(texts))
        number = self.contributor(removal.contributor)
        self._look_up(number, [ref for row, ref in enumerate(texts) if row not in faults])
        for row, ref in enumerate(texts):
            if row in faults:
                continue
            if self._wanted[number, ref] is not None:
                self._wanted[number, ref] = None
                self.counts.removed += 1
            elif not missing_ok:
                faults[row] = f"no item {ref!r} to remove"
        self.counts.rejected += merged(first_row, list(faults.items()))
        self._flush_if_large()

    def opinion(
        self, ref: str, *, contributor: str, verdict: Verdict, labels: Sequence[str] = ()
    ) -> None:
        """Record a contributor's opinion on a ref, in place of an earlier one of theirs.

        It concerns all items of the set with that ref, whoever contributed them, those that come
        later included. ValueError on a bad ref, contributor or verdict.
        """
        key, stated = self._stated(Opinion(ref, contributor, verdict, labels))
        if self._opinions.record(*key, stated):
            self.counts.opinions += 1
        else:
            self.counts.unchanged += 1

    def say_only(self, refs: Sequence[str], opinions: Iterable[Opinion], of: str) -> None:
        """Have the opinions on some refs, of contributors whose names begin with `of`, be just
        these; others of theirs are withdrawn. ValueError on a bad opinion, or one that is not on
        these refs or of these contributors.
        """
        about = set(refs)
        wanted: dict[tuple[str, int], Stated] = {}
        for each in opinions:
            if each.ref not in about or not each.contributor.startswith(of):
                raise ValueError(
                    f"the opinion of {each.contributor!r} on {each.ref!r} is not of these: {of}..."
                )
            key, stated = self._stated(each)
            wanted[key] = stated
        self.counts.opinions += self._opinions.record_only(refs, wanted, of)

    def _stated(self, opinion: Opinion) -> tuple[tuple[str, int], Stated]:
        self._require_usable()
        stated = stated_by(opinion)
        return (require_text(opinion.ref, "ref"), self.contributor(opinion.contributor)), stated

    @property
    def checkpoint(self) -> str:
        """How far the set's feed has been followed: any text, kept with the change."""
        return str(self._checkpoint)

    @checkpoint.setter
    def checkpoint(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"checkpoint must be text, not {type(text).__name__}")
        if not is_unicode(text):
            raise ValueError("checkpoint has half a surrogate pair, so is no Unicode text")
        self._checkpoint = text

    def contributor(self, name: str | None) -> int:
        """The number of a contributor, None for the set's owner."""
        if name is None:
            return int(self._owner)
        if name not in self._contributors:
            number = contributor_number(
                self._connection, require_text(name, "contributor", empty=True)
            )
            self._contributors[name] = number
        return self._contributors[name]

    def settle(self) -> None:
        """Write all, and remove what a replacement lacks: the counts are those of the change."""
        self._require_usable()
        self.flush()
        if self._replaced_from is not None:
            self.counts.removed += self.rows.withdraw_others(self._replaced_from)
            self._replaced_from = None
            if self._opinions_of is not None:
                self.counts.opinions += self._opinions.withdraw_left(self._opinions_of)

    def finish(self) -> None:
        """Write what is left, the log, and the set's counts."""
        self.settle()
        now = now_ms()
        counts = self.counts
        self._connection.run(
            "INSERT INTO generation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.generation, now, self.set_number, self._who, counts.added, counts.updated,
                counts.removed, counts.unchanged, counts.opinions, len(counts.rejected),
            ),
        )  # fmt: skip
        self._connection.run(
            """UPDATE hash_set SET checkpoint = ?, changed = ?, items = items + ?,
            signals = signals + ?, types = types | ? WHERE number = ?""",
            (
                self._checkpoint,
                now,
                self.rows.items,
                self.rows.signals,
                self.rows.types,
                self.set_number,
            ),
        )

    def snapshot(self) -> Snapshot:
        """What has been written, as it will be once it is committed; the caller ends it."""
        return Snapshot(self._connection)

    @property
    def hash_types(self) -> list[str]:
        """The hash types of the signals written so far."""
        return type_names(self.rows.types)

    def list_segment(self, record: SegmentRecord) -> None:
        """List a segment file of what the change has written."""
        list_segment(self._connection, record)

    def end(self) -> None:
        """The change takes no more."""
        self._ended = True

    def flush(self) -> None:
        """Write what is wanted where it differs from what is stored."""
        withdrawn: list[Known] = []
        kept: list[int] = []
        written: list[tuple[int, str, int | None, Version]] = []
        for key, wanted in self._wanted.items():
            known = self._known[key]
            if known and known.live and known.live != wanted:
                withdrawn.append(known)
            if wanted and known and known.live == wanted:
                kept.append(known.id)
            elif wanted:
                written.append((*key, known.id if known else None, wanted))
        self._known.clear()
        self._wanted.clear()
        self._old.clear()
        self._held_bytes = 0
        self.rows.withdraw(withdrawn)
        self.rows.write(written)
        if self._replaced_from is not None:
            self.rows.keep(kept)

    def _flush_if_large(self) -> None:
        if self._held_bytes > _HELD_BYTES:
            self.flush()

    def _require_usable(self) -> None:
        if self._ended:
            raise ValueError("the change has ended: begin another")

    def _want(self, contributor: int, ref: str, added: Version, keep_labels: bool) -> None:
        """Add to what is wanted of a ref that has been looked up."""
        key = (contributor, ref)
        before = None if key in self._old else self._wanted[key]
        self._settle(key, before.with_run(added, keep_labels) if before else added)

    def _settle(self, key: tuple[int, str], after: Version) -> None:
        """Want just that of a ref that has been looked up."""
        self._held_bytes += len(after.signals)
        before = self._wanted[key]
        self._wanted[key] = after
        self._old.discard(key)
        if before is None:
            self.counts.added += 1
        elif after == before:
            self.counts.unchanged += 1
        else:
            self.counts.updated += 1

    def _look_up(self, contributor: int, refs: Iterable[str]) -> None:
        """Learn what is stored of refs that were not met yet."""
        unmet = [ref for ref in dict.fromkeys(refs) if (contributor, ref) not in self._wanted]
        found = dict(self.rows.look_up(contributor, unmet))
        if self._replaced_from is not None:
            old = {ref for ref, known in found.items() if known.id < self._replaced_from}
            kept = self.rows.which_kept([found[ref].id for ref in old])
            self._old |= {(contributor, ref) for ref in old if found[ref].id not in kept}
        for ref in unmet:
            known = found.get(ref)
            live = known.live if known else None
            self._known[contributor, ref] = known
            self._wanted[contributor, ref] = live
            self._held_bytes += _ITEM_BYTES + (len(live.signals) if live else 0)
