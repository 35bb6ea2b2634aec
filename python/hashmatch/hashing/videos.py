"""vPDQ: the PDQ hashes of a video's frames, one a second, as Meta's vpdq chooses them.

Meta's vpdq (https://github.com/facebook/ThreatExchange/tree/main/vpdq) takes the first video stream
and hashes every n-th frame that its decoder gives, where n is the whole part of the stream's mean
frames a second. It calls the time of a frame its number over the frames a second, whatever the time
stamps say. Frames are hashed in their own size, as RGB by the matrix of BT.601, whatever the file
says of its colours. All of that is so here.

On the 14 videos that vpdq publishes hashes of, made by other versions of FFmpeg on other
processors, all 5,872 frames have the same number and time, a quality within 1 and, from quality 50
on, a code within 6 bits; within 22 in one video in the dark. On the newest of them 149 of 150 codes
are equal.

What differs: brightness is rounded once instead of twice, which can change single bits; interlaced
frames become RGB field by field; of a damaged video the frames before the damage are given; and
frames that change their size in the midst are brought to that of the first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashmatch.extras import need
from hashmatch.hashing.files import FileError, open_file, sound
from hashmatch.hashing.images import MAX_PIXELS, hash_pixels

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame as Decoded
    from av.video.stream import VideoStream

#: The containers that videos come in. FFmpeg knows others that are no video at all (text becomes a
#: terminal's screen) or that lead to other files and addresses (playlists).
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,asf,ogg,mpeg,mpegvideo,mpegts,m4v,"
    "h261,h263,h264,hevc,av1,obu,ivf,mxf,nut,rm,dv,wtv,gxf,swf,nsv,amv,vc1,y4m,yuv4mpegpipe"
)
_READ_BYTES = 1 << 18
#: How the names of formats begin in which black is 0 and white 255, besides RGB.
_FULL_RANGE = ("yuvj", "gray", "ya", "pal8", "mono")
#: vpdq hashes no frames with less pixels a side.
_MIN_SIDE = 5


class VideoFrame(NamedTuple):
    """The hash of one frame of a video."""

    #: uint8[32]
    code: NDArray[np.uint8]
    #: 0..100; frames below 50 are usually not matched.
    quality: int
    #: Place in the video, in ms.
    time_ms: int


class NotAVideo(FileError):
    """The contents of a file are those of no container that FFmpeg opens."""


class NoVideoInIt(NotAVideo):
    """They are, but without video: music, for example."""


def video_frames(
    video: str | os.PathLike[str] | BinaryIO,
    *,
    seconds_per_hash: float = 1.0,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[VideoFrame]:
    """The hashed frames of a video, one every so many seconds, as it is decoded: in memory that
    does not grow with its length. 0 hashes every frame.

    NotAVideo if it is none. FileError, a ValueError, says where the video is damaged, after the
    frames before that; frames of more than `max_pixels` are not decoded. OSError says why the file
    cannot be read. ImportError names the extra to install.
    """
    if not seconds_per_hash >= 0:
        raise ValueError(f"seconds_per_hash must be 0 or more, not {seconds_per_hash}")
    with sound(video):
        for number, rate, frame in _chosen(video, seconds_per_hash, max_pixels):
            code, quality = hash_pixels(frame)
            # In single precision, as vpdq has it.
            time_s = float(np.float32(number) / np.float32(rate))
            yield VideoFrame(code, quality, round(time_s * 1000))


def frame_pixels(
    video: str | os.PathLike[str] | BinaryIO, time_ms: int, *, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """uint8[height, width, 3]: the frame that `video_frames` has at that time, or the last before
    it.
    """
    last: NDArray[np.uint8] | None = None
    for number, rate, frame in _chosen(video, 1.0, max_pixels):
        if last is not None and number / rate * 1000 > time_ms + 1:
            break
        last = frame
    if last is None:
        raise FileError("has no frames")
    return last


def _chosen(
    video: str | os.PathLike[str] | BinaryIO, seconds_per_hash: float, max_pixels: int
) -> Iterator[tuple[int, float, NDArray[np.uint8]]]:
    """The frames to hash: number, frames a second, pixels."""
    if isinstance(video, str | os.PathLike):
        with open_file(video) as file:
            yield from _chosen(file, seconds_per_hash, max_pixels)
        return
    with closing(_opened(video)) as container:
        stream = _stream(container)
        context = stream.codec_context
        width, height = context.width, context.height
        if width * height > max_pixels:
            raise FileError(
                f"is too large: frames of {width:,} x {height:,} are more than {max_pixels:,} "
                "pixels"
            )
        if min(width, height) < _MIN_SIDE:
            raise FileError(f"is too small: {width} x {height}, where PDQ needs 5 pixels a side")
        rate = float(stream.average_rate or stream.base_rate or 0)
        if not rate:
            raise FileError("does not say how many frames a second it has")
        every = max(1, int(seconds_per_hash * rate))
        pixels = _Pixels(width, height)
        number = -1
        for number, frame in enumerate(_decoded(container, stream)):
            if number % every == 0:
                yield number, rate, pixels(frame)
        if number < 0:
            raise FileError("has no frames")


def _opened(file: BinaryIO) -> InputContainer:
    """By its contents alone: a name could stand for an address or another file to FFmpeg."""
    av = need("av", "video")
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
    try:
        container: InputContainer = av.open(
            _Nameless(file),
            "r",
            container_options=options,
            metadata_errors="replace",
            buffer_size=_READ_BYTES,
        )
    except av.error.FFmpegError as error:
        raise NotAVideo(f"cannot be opened as a video: {_reason(error)}") from None
    return container


class _Nameless:
    """A file without its name, which PyAV would tell FFmpeg."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell


def _stream(container: InputContainer) -> VideoStream:
    """The first video stream."""
    if not container.streams.video:
        raise NoVideoInIt("has no video in it")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise FileError("has video that FFmpeg has no decoder for")
    # Frames come in the same order and number, whatever the threads; the cores have other work.
    stream.codec_context.thread_count = 1
    return stream


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[Decoded]:
    av = need("av", "video")
    number = 0
    try:
        for packet in container.demux(stream):
            # The last packet is empty and has the decoder give what it has held back. vpdq gets
            # there only if the video is the file's first stream.
            if packet.size == 0 and packet.dts is None and stream.index != 0:
                return
            for frame in packet.decode():
                number += 1
                yield frame
    except av.error.FFmpegError as error:
        raise FileError(f"is damaged after {number:,} frames: {_reason(error)}") from None


class _Pixels:
    """Turns frames into RGB in the way of vpdq."""

    def __init__(self, width: int, height: int) -> None:
        self._reformatter = need("av.video.reformatter", "video").VideoReformatter()
        self._width, self._height = width, height

    def __call__(self, frame: Decoded) -> NDArray[np.uint8]:
        formats = need("av.video.reformatter", "video")
        # Where the file's own word is not taken, the range goes by the format of the pixels.
        full = frame.format.is_rgb or frame.format.name.startswith(_FULL_RANGE)
        rgb = self._reformatter.reformat(
            frame,
            self._width,
            self._height,
            "rgb24",
            src_colorspace=formats.Colorspace.ITU601,
            dst_colorspace=formats.Colorspace.ITU601,
            src_color_range=formats.ColorRange.JPEG if full else formats.ColorRange.MPEG,
            interpolation=formats.Interpolation.AREA,
            threads=1,
        )
        pixels: NDArray[np.uint8] = rgb.to_ndarray()
        return pixels


def _reason(error: Any) -> str:
    return str(error.strerror or error).strip().lower()
