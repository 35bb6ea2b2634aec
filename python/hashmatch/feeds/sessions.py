"""Sessions that wait for a while, not for ever, and that try once: what failed backs off.

The library's own sessions try five times within seconds, or sleep within a fetch for as long as a
server asks; and some of its requests have no time-out.
"""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from hashmatch.feeds.model import StalePosition

#: To connect, and from one piece of an answer to the next.
CONNECT_S = 10.0
READ_S = 60.0


class _Adapter(HTTPAdapter):
    def __init__(self) -> None:
        super().__init__(max_retries=0)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        deadlines = timeout or (CONNECT_S, READ_S)
        response = super().send(request, stream, deadlines, verify, cert, proxies)
        try:
            response.content  # noqa: B018  read here, so that an error says of which host
        except requests.RequestException as error:
            error.request = request
            raise
        return response


def with_deadlines(session: requests.Session) -> requests.Session:
    """The session itself, all of whose requests now have them. An answer that says that what was
    asked for is gone is a StalePosition.
    """
    for prefix in list(session.adapters):
        session.mount(prefix, _Adapter())
    session.hooks["response"].append(_refuse_gone)
    return session


def _refuse_gone(response: requests.Response, *_: Any, **__: Any) -> None:
    if response.status_code == requests.codes.gone:
        raise StalePosition("the exchange no longer knows what came after the checkpoint")
