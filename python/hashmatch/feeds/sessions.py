"""Sessions that wait for a while, not for ever, and that try once: what failed backs off.

The library's own sessions try five times within seconds, or sleep within a fetch for as long as a
server asks; and some of its requests have no time-out.
"""

from __future__ import annotations

import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from hashmatch.feeds.model import StalePosition

#: To connect, from one piece of an answer to the next, and for all of it.
CONNECT_S = 10.0
READ_S = 60.0
ANSWER_S = 900.0


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
        # Who sends a byte a minute is in time with each.
        late = threading.Event()
        timer = threading.Timer(ANSWER_S, _hang_up, (response, late))
        timer.daemon = True
        timer.start()
        try:
            _ = response.content  # read here, so that an error says of which host
        except requests.RequestException as error:
            error.request = request
            if not late.is_set():
                raise
        finally:
            timer.cancel()
        if late.is_set():
            raise requests.ReadTimeout(f"no whole answer in {ANSWER_S:.0f} s", request=request)
        return response


def _hang_up(response: requests.Response, late: threading.Event) -> None:
    late.set()
    # Unlike closing, this is safe while another thread reads; urllib3 has it since 2.3.
    getattr(response.raw, "shutdown", response.close)()


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
