"""PDQ of pictures, with the values that python-threatexchange gives.

That is: the first frame of an animation; pixels as they are stored, not turned as EXIF says; and
the numbers in the file, so that a palette's indices are taken for shades of grey, CMYK for RGB, and
the alpha channel for nothing. Two kinds of pixel are converted to RGB first, "LA" and "I;16"; the
latter becomes white from 256 on, and so most pictures of 16 bits have quality 0.
"""

from __future__ import annotations

import io
import os
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashmatch.extras import need
from hashmatch.hashing.files import FileError, sound

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pillow's own limit, from which on it warns of decompression bombs. Hashing takes some 30 bytes a
#: pixel.
MAX_PIXELS = 89_478_485

#: What Pillow opens, but is left out: EPS runs Ghostscript, MPEG is video, and the others need
#: libraries of which nothing is known here.
_REFUSED = frozenset({"EPS", "MPEG", "BUFR", "GRIB", "HDF5", "WMF"})
#: Pixels that are converted to RGB: two as python-threatexchange does, and two that it cannot hash.
_CONVERTED = ("LA", "I;16", "La", "PA")

#: A path, the bytes of a file, or a file open for reading, which has to be seekable.
Picture = str | os.PathLike[str] | bytes | BinaryIO


class ImageHash(NamedTuple):
    """The PDQ hash of a picture."""

    #: uint8[32]
    code: NDArray[np.uint8]
    #: 0..100: how much there is in the picture to tell it by. Below 50 it is usually not matched.
    quality: int


class NotAPicture(FileError):
    """The contents of a file are those of no format that Pillow opens."""


def hash_image(picture: Picture, *, max_pixels: int = MAX_PIXELS) -> ImageHash:
    """The PDQ hash and quality of a picture, equal to those of python-threatexchange's
    `pdq_from_file`.

    FileError, a ValueError, says why there is none: pictures of more than `max_pixels`, for
    example, are not decoded. OSError says why the file cannot be read. ImportError names the extra
    to install.
    """
    with sound(picture), open_image(picture, max_pixels) as image:
        return hash_opened(image)


def open_image(picture: Picture, max_pixels: int = MAX_PIXELS) -> Image:
    """The picture as Pillow opens it, nothing decoded. NotAPicture, or FileError for too large a
    one.
    """
    pillow = need("PIL.Image", "images")
    file = io.BytesIO(picture) if isinstance(picture, bytes) else picture
    try:
        image: Image = pillow.open(file, formats=_formats())
    except need("PIL", "images").UnidentifiedImageError:
        raise NotAPicture("is no picture of a known format") from None
    except pillow.DecompressionBombError as error:
        size = str(error).partition(",")[0]
        raise FileError(f"is too large: {size[:1].lower()}{size[1:]}") from None
    pixels = image.width * image.height
    if pixels > max_pixels:
        size = f"{image.width:,} x {image.height:,}"
        image.close()
        raise FileError(f"is too large: {size} are more than {max_pixels:,} pixels")
    return image


@cache
def _formats() -> tuple[str, ...]:
    pillow = need("PIL.Image", "images")
    pillow.init()
    return tuple(name for name in pillow.ID if name not in _REFUSED)


def hash_opened(image: Image) -> ImageHash:
    """`hash_image` of a picture from `open_image`."""
    if image.mode in _CONVERTED:
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 and pixels.dtype != np.bool_:
        raise FileError(
            f"has pixels of mode {image.mode}, which PDQ is not defined for: convert it to RGB"
        )
    if pixels.ndim == 2:
        pixels = np.broadcast_to(pixels[..., np.newaxis], (*pixels.shape, 3))
    return hash_pixels(pixels)


def hash_pixels(pixels: NDArray[Any]) -> ImageHash:
    """PDQ of uint8[height, width, 3 or more]: red, green, blue. With less than 5 pixels a side the
    code is all zeros, and the quality 0.
    """
    # One bit an element, the most significant first.
    bits, quality = need("pdqhash", "images").compute(pixels)
    return ImageHash(np.packbits(bits.astype(np.uint8)), int(quality))
