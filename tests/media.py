"""Pictures and videos that tests make."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pixels(seed: int, width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    """uint8[height, width, 3] with much to tell it by: PDQ quality 100."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def picture(seed: int, mode: str = "RGB", width: int = 160, height: int = 120) -> Image.Image:
    return Image.fromarray(pixels(seed, width, height)).convert(mode)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of that size in its header, and next to nothing after it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def write_video(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    rate: Fraction | int = 10,
    *,
    codec: str = "ffv1",
    format: str = "bgr0",
    sound_first: bool = False,
    colours: tuple[int, int] | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """`frames` are uint8[height, width, 3]. `colours` are FFmpeg's numbers of a colour space and a
    range to name, without changing a pixel.
    """
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000) if sound_first else None
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        height, width = frames[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, format
        stream.bit_rate = 8_000_000
        if colours is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colours
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
            silence.sample_rate = 8000
            container.mux(sound.encode(silence))
        for frame in frames:
            of_video = av.VideoFrame.from_ndarray(frame, "rgb24")
            if colours is not None:
                of_video = of_video.reformat(format=format)
                of_video.colorspace, of_video.color_range = colours
            container.mux(stream.encode(of_video))
        container.mux(stream.encode())
        if sound is not None:
            container.mux(sound.encode())
