"""What a file is and what its hashes are, by its contents and whatever they are."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, TypeAlias

from hashmatch.hashing.files import DIGESTS, FileError, damage, digest_file, open_file
from hashmatch.hashing.images import ImageHash, NotAPicture, hash_opened, open_image
from hashmatch.hashing.videos import NotAVideo, NoVideoInIt, VideoFrame, video_frames

#: "file" is neither a picture nor a video, or was not looked into.
FileKind: TypeAlias = Literal["image", "video", "file"]

#: Pictures of more pixels than this are hashed by one process at a time, for what they take.
LARGE_PIXELS = 16_000_000

_HEAD_BYTES = 512
#: Bytes of a packet of MPEG-TS, and of one with a time before it.
_TS_BYTES = 188
_M2TS_BYTES = 192
#: Names that promise a picture or a video.
_MEDIA_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".bmp", ".tif"),
        *(".tiff", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".mp4", ".m4v", ".mov", ".mkv"),
        *(".webm", ".avi", ".mpg", ".mpeg", ".ts", ".3gp", ".flv", ".wmv", ".asf", ".ogv"),
    )
)
#: Brands of the boxes in which still pictures come. FFmpeg would give a tile of them.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_PICTURE_BRANDS = (*_HEIF_BRANDS, b"avif", b"avis", b"jxl ", b"jp2 ")


@dataclass(slots=True)
class FileHashes:
    """What there is to know of one file."""

    kind: FileKind = "file"
    #: By hash type: "md5", "sha1", "sha256".
    digests: dict[str, bytes] = field(default_factory=dict)
    #: Of a picture.
    picture: ImageHash | None = None
    #: Of a video.
    frames: list[VideoFrame] = field(default_factory=list)
    #: Why something is missing, if anything is.
    reason: str | None = None


def hash_file(
    path: str,
    types: Sequence[str],
    *,
    time_limit_s: float | None = None,
    turns: str | None = None,
) -> FileHashes:
    """The hashes of those types ("pdq", "vpdq", "md5", "sha1", "sha256") that a file has: PDQ of a
    picture, vPDQ of a video, digests of any. Never raises: what is wrong is the `reason`.

    What could be hashed is given all the same: the digests of a broken picture, and a damaged
    video's frames before the damage, or those before the time limit. `turns` is the path of a file;
    of the processes that name the same one, one at a time hashes a large picture. A symbolic link
    is not followed.
    """
    try:
        with open_file(path, follow=False) as file:
            return hash_contents(file, types, name=path, time_limit_s=time_limit_s, turns=turns)
    except Exception as error:
        return FileHashes(reason=_reason(error))


def hash_contents(
    file: BinaryIO,
    types: Sequence[str],
    *,
    name: str = "",
    time_limit_s: float | None = None,
    turns: str | None = None,
) -> FileHashes:
    """`hash_file` of a file that is open, and seekable. Its name tells what it promises to be."""
    found = FileHashes()
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    try:
        wanted = [digest for digest in DIGESTS if digest in types]
        if wanted:
            found.digests = digest_file(file, wanted)
        if "pdq" in types or "vpdq" in types:
            _look_into(file, name, types, found, deadline, turns)
    except Exception as error:  # Decoders raise whatever comes to their mind.
        found.reason = _reason(error)
    return found


def _look_into(
    file: BinaryIO,
    path: str,
    types: Sequence[str],
    found: FileHashes,
    deadline: float | None,
    turns: str | None,
) -> None:
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if not is_video(head):
        try:
            with open_image(file) as image:
                found.kind = "image"
                if "pdq" in types:
                    with _turn(turns, image.width * image.height):
                        found.picture = hash_opened(image)
            return
        except NotAPicture:
            file.seek(0)
        except Exception:
            found.kind = "image"
            raise
    if head[4:8] == b"ftyp" and head[8:12] in _PICTURE_BRANDS:
        found.kind = "image"
        heif = head[8:12] in _HEIF_BRANDS
        raise FileError(
            "is a HEIF picture, which Pillow does not read: convert it"
            if heif
            else "is a damaged picture"
        )
    found.kind = "video"
    try:
        for frame in video_frames(file):
            found.frames.append(frame)
            if "vpdq" not in types:
                found.frames.clear()
                return
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(
                    f"took too long: only the first {frame.time_ms / 1000:,.0f} s were hashed"
                )
    except NoVideoInIt:
        found.kind = "file"  # Music, say.
    except NotAVideo as error:
        suffix = os.path.splitext(path)[1].lower()
        if is_video(head):
            raise FileError(f"is a damaged video: {error}") from None
        found.kind = "file"
        if suffix in _MEDIA_SUFFIXES:
            raise FileError(f"is named {suffix}, but neither a picture nor a video") from None


def is_video(head: bytes) -> bool:
    """Whether a file that begins like this (512 bytes) is a video, if it is anything."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURE_BRANDS
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    for first, packet in ((0, _TS_BYTES), (4, _M2TS_BYTES)):
        if head[first::packet].startswith(b"\x47\x47"):
            return True
    return head.startswith(
        (
            b"\x1a\x45\xdf\xa3",  # Matroska, WebM
            b"\x30\x26\xb2\x75",  # ASF: WMV
            b"\x00\x00\x01\xba",  # MPEG
            b"\x00\x00\x01\xb3",
            b"FLV\x01",
            b"OggS",
        )
    )


@contextmanager
def _turn(path: str | None, pixels: int) -> Iterator[None]:
    """Wait until no other process is at a large picture. The system ends a dead one's turn."""
    if path is None or pixels <= LARGE_PIXELS:
        yield
        return
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _reason(error: Exception) -> str:
    """For a row of a report: one line."""
    if isinstance(error, MemoryError):
        return "needs more memory than there is for one file"
    if isinstance(error, ImportError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) if isinstance(error, FileError | TimeoutError) else damage(error)
