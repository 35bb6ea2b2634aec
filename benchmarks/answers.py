"""HTTP/1.1 answers as they arrive, taken apart with as little work as there can be."""

from __future__ import annotations

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_CHUNKED = b"\r\ntransfer-encoding: chunked"
_CLOSE = b"\r\nconnection: close"


class Answer:
    """One answer: fed until it is there."""

    __slots__ = ("_chunks", "_left", "_received", "body", "closes", "status")

    def __init__(self) -> None:
        self.status = 0
        #: What stands in its body, once all of it is there.
        self.body = b""
        #: The server ends the connection after it.
        self.closes = False
        self._received = bytearray()
        #: Bytes of the body that have not arrived; -1 when chunks say how many.
        self._left = 0
        self._chunks: list[bytes] = []

    def feed(self, received: bytes) -> bool:
        """Take in what arrived, and say whether that is all. ValueError if it is no answer."""
        if not self.status:
            if not self._received and self._whole(received):
                return True
            self._received += received
            if not self._take_head():
                return False
        elif self._left < 0:
            self._received += received
        else:
            self._chunks.append(received)
            self._left -= len(received)
        if self._left < 0:
            return self._take_chunks()
        if self._left == 0:
            self.body = b"".join(self._chunks)
        return self._left == 0

    def _whole(self, received: bytes) -> bool:
        """Almost every answer arrives in one piece."""
        end = received.find(_HEAD_END)
        if end < 0:
            return False
        head = received[:end].lower()
        at = head.find(_LENGTH)
        if at < 0:
            return False
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
        if len(received) != end + 4 + length:
            return False
        self._note(head)
        self.body = received[end + 4 :]
        return True

    def _note(self, head: bytes) -> None:
        if not head.startswith(b"http/1.1 "):
            raise ValueError(f"no answer of HTTP/1.1: {head[:80]!r}")
        self.status = int(head[9:12])
        self.closes = _CLOSE in head

    def _take_head(self) -> bool:
        end = self._received.find(_HEAD_END)
        if end < 0:
            return False
        head = bytes(self._received[:end]).lower()
        rest = bytes(self._received[end + 4 :])
        self._note(head)
        at = head.find(_LENGTH)
        if at >= 0:
            self._left = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) - len(rest)
            self._chunks.append(rest)
        elif _CHUNKED in head:
            self._left = -1
            self._received = bytearray(rest)
        else:
            raise ValueError(f"an answer without a length: {head!r}")
        return True

    def _take_chunks(self) -> bool:
        at, received = 0, self._received
        while (line := received.find(b"\r\n", at)) >= 0:
            size = int(bytes(received[at:line]).split(b";")[0], 16)
            if line + 2 + size + 2 > len(received):
                break
            self._chunks.append(bytes(received[line + 2 : line + 2 + size]))
            at = line + 2 + size + 2
            if size == 0:
                self.body = b"".join(self._chunks)
                return True
        del received[:at]
        return False
