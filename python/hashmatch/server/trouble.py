"""What goes wrong beside the requests, and is told of when it begins and when it ends."""

from __future__ import annotations

from hashmatch.server.service import Service

_ILL = {
    "tokens": "the file of tokens cannot be read: the tokens read before hold",
    "audit": "the audit cannot be written: it is kept, and tried again",
    "database": "a newer generation cannot be taken in: the last one is answered from",
}
_WELL = {
    "tokens": "the file of tokens was read again",
    "audit": "the audit was written again",
    "database": "the newest generation is answered from again",
}


class Trouble:
    """Counts it, and logs it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._now: dict[str, str] = {}

    def note(self, what: str, trouble: str | None) -> None:
        """What is wrong with it now, None if nothing is."""
        before = self._now.get(what)
        if trouble == before:
            return
        if trouble is None:
            del self._now[what]
            self._service.log.info(_WELL[what])
        else:
            self._now[what] = trouble
            self._service.metrics.failed(what)
            self._service.log.error(_ILL[what], trouble=trouble)


def trouble_of(service: Service) -> str | None:
    """What keeps a database's newest generation from being taken in."""
    try:
        return service.database.status().trouble
    except (OSError, ValueError, MemoryError) as error:
        return f"{error}"
