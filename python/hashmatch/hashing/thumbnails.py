"""Small pictures for people to look at."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from hashmatch.extras import need
from hashmatch.hashing.files import open_file
from hashmatch.hashing.images import open_image
from hashmatch.hashing.videos import frame_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

_JPEG_QUALITY = 72


def thumbnail(path: str, side: int, time_ms: int | None = None) -> bytes:
    """JPEG of a picture, or of a video's frame at that time, at most `side` pixels a side.

    Unlike its hash it is turned as EXIF says, and what is transparent is grey. FileError and
    Pillow's own errors say what is wrong with the file, OSError why it cannot be read.
    """
    with open_file(path, follow=False) as file:
        if time_ms is not None:
            return _jpeg(need("PIL.Image", "images").fromarray(frame_pixels(file, time_ms)), side)
        with open_image(file) as image:
            # A JPEG is decoded at an eighth of its size, if that is enough.
            image.draft("RGB", (2 * side, 2 * side))
            return _jpeg(need("PIL.ImageOps", "images").exif_transpose(image), side)


def _jpeg(image: Image, side: int) -> bytes:
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        background = need("PIL.Image", "images").new("RGBA", image.size, (128, 128, 128, 255))
        image = need("PIL.Image", "images").alpha_composite(background, image)
    image = image.convert("RGB")
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return file.getvalue()
