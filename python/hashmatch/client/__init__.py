"""The client of a sidecar: `Database`'s methods and results, over the wire.

    with hashmatch.connect("unix:/run/hashmatch.sock") as client:
        for match in client.match("pdq", uploads):
            print(match.query, match.ref, match.distance)

    async with hashmatch.aconnect("https://matcher.example:8443", token=token) as client:
        matches = await client.match("pdq", uploads)

A request that the server refuses for want of room (429, 503), or whose connection breaks, is sent
again, `retries` times at most and never longer than `timeout` seconds, all in all. A change has a
key by which the server knows it: it is made once.

ValueError is of what was asked: a bad code or row, a set that is not there, too large a change.
PermissionError is of the token. ConnectionError says that the server is not there, has no room, or
is none; TimeoutError that it took too long.

calls.py     what is asked, and what was answered; each method is a talk of such
session.py   what both clients share: sync.py is for threads, aio.py for event loops
tries.py     when a call is made again; errors.py, what refusals become
lookups.py, videos.py, files.py, changes.py, loads.py, questions.py    what the methods ask
results.py, video_results.py, records.py, contents.py    what they make of the answers
"""

from __future__ import annotations

from hashmatch.client.aio import AsyncClient
from hashmatch.client.changes import ClientChange
from hashmatch.client.files import FileHash, FileMatches
from hashmatch.client.records import ServerStatus
from hashmatch.client.session import File
from hashmatch.client.sync import Client

__all__ = [
    "AsyncClient",
    "Client",
    "ClientChange",
    "FileHash",
    "FileMatches",
    "ServerStatus",
    "aconnect",
    "connect",
]


def connect(
    server: str,
    *,
    token: str | None = None,
    ca: File | None = None,
    certificate: tuple[File, File] | None = None,
    timeout: float = 60.0,
    retries: int = 6,
) -> Client:
    """A client of the server at "unix:/run/hashmatch.sock", "https://host:port" or
    "http://host:port", which connects when it is first used.

    `token` is that of the environment variable HASHMATCH_TOKEN where none is given. `ca` is a file
    of certificates that the server's has to be signed by one of, the system's if there is none;
    `certificate` has the files of the certificate and the key that the client shows. `timeout` is
    how many seconds one request may take, however often it is sent, and `retries` how often it is
    sent again. ValueError if the address is none.
    """
    return Client(
        server, token=token, ca=ca, certificate=certificate, timeout=timeout, retries=retries
    )


def aconnect(
    server: str,
    *,
    token: str | None = None,
    ca: File | None = None,
    certificate: tuple[File, File] | None = None,
    timeout: float = 60.0,
    retries: int = 6,
) -> AsyncClient:
    """`connect`, for an event loop of asyncio: `async with aconnect(...) as client`."""
    return AsyncClient(
        server, token=token, ca=ca, certificate=certificate, timeout=timeout, retries=retries
    )
