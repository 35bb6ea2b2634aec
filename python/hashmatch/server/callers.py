"""Who calls, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from hashmatch.server.problems import Problem

#: "read" looks up, "write" changes sets, "admin" makes sets. Each is given by itself.
Scope: TypeAlias = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")


@dataclass(frozen=True, slots=True)
class Caller:
    """One who calls."""

    #: As the audit and the logs have it. Never a secret.
    name: str
    scopes: frozenset[Scope]
    #: The names of the sets they may see; None for all.
    sets: frozenset[str] | None = None

    def require(self, scope: Scope, set: str | None = None) -> None:
        """Problem unless they may do that, and with that set."""
        if scope not in self.scopes:
            raise Problem(403, f"{self.name} may not {scope}: that takes a token of that scope")
        if set is not None and self.sets is not None and set not in self.sets:
            raise Problem(403, f"{self.name} may not use the set {set!r}", field="set")

    def narrowed(self, sets: Sequence[str] | None) -> list[str] | None:
        """The sets to look in of those asked for, all where that is None. Problem names one that
        they may not see.
        """
        if sets is None:
            return None if self.sets is None else sorted(self.sets)
        for name in sets:
            self.require("read", name)
        return list(sets)


#: Who asks for what is open to all.
ANYONE = Caller("anyone", frozenset())
