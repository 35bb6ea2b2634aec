"""What our JSON formats write of a part beside its signals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hashmatch.formats.model import Removal
from hashmatch.vocabulary import Opinion


def removal_lines(removal: Removal) -> Iterator[dict[str, Any]]:
    """An object for each ref."""
    for ref in removal.refs:
        yield {"ref": ref, **named_contributor(removal.contributor), "removed": True}


def named_contributor(contributor: str | None) -> dict[str, Any]:
    """The member that names a contributor; none for the owner of the set."""
    return {} if contributor is None else {"contributor": contributor}


def opinions_by_ref(opinions: Iterable[Opinion]) -> dict[str, list[dict[str, Any]]]:
    """Opinions as they are written: for each ref a list of objects."""
    said: dict[str, list[dict[str, Any]]] = {}
    for each in opinions:
        line = {"contributor": each.contributor, "verdict": each.verdict}
        said.setdefault(each.ref, []).append(line | {"labels": list(each.labels)})
    return said
