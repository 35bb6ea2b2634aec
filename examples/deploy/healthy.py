"""Asks a sidecar on a Unix socket whether it is ready: `python healthy.py SOCKET [/livez]`.

Exit code: 0 if it is, 1 if not. It needs nothing but Python, for images without curl.
"""

from __future__ import annotations

import http.client
import socket
import sys

SECONDS = 4


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket at a path, in place of a host."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self.host)


def main() -> int:
    path, target = sys.argv[1], (sys.argv[2:] or ["/readyz"])[0]
    connection = UnixConnection(path)
    try:
        connection.request("GET", target, headers={"Host": "hashmatch"})
        reply = connection.getresponse()
        said = reply.read(1000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        print(f"{path}: {error}")
        return 1
    print(said)
    return 0 if reply.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
