"""PDQ of pictures: python-threatexchange's values for every kind of file, and clear errors."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashmatch.hashing import DIGESTS, FileError, NotAPicture, digest_file, hash_image
from hashmatch.hashing.images import hash_pixels
from media import encoded, picture, pixels, png_claiming

#: Every pixel mode that a format stores; some formats change it.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA", "ICO", "AVIF", "JPEG2000")
STORED = [(mode, format) for mode in MODES for format in FORMATS]


def theirs(path: Path) -> tuple[str, int]:
    # Their function for files leaves those that it hashes open.
    from threatexchange.signal_type.pdq.pdq_hasher import pdq_from_bytes

    digits, quality = pdq_from_bytes(path.read_bytes())
    return digits, int(quality)


def ours(path: Path) -> tuple[str, int]:
    code, quality = hash_image(path)
    assert code.dtype == np.uint8
    assert code.shape == (32,)
    return code.tobytes().hex(), quality


def test_modes_and_formats(tmp_path: Path) -> None:
    compared = set()
    for seed, (mode, format) in enumerate(STORED):
        path = tmp_path / "picture"
        try:
            path.write_bytes(encoded(picture(seed, mode), format))
        except (OSError, ValueError, KeyError):
            continue  # Not every format has every mode.
        with Image.open(path) as image:
            stored = image.mode
        if stored == "PA":
            # Of a palette with an alpha channel, which they cannot hash, the colours count.
            with pytest.raises(IndexError):
                theirs(path)
            with Image.open(path) as image:
                image.convert("RGB").save(tmp_path / "colours.png")
            assert ours(path) == ours(tmp_path / "colours.png")
            continue
        assert ours(path) == theirs(path), (mode, format)
        compared.add(stored)
    assert compared >= {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"}


@pytest.mark.parametrize("seed", range(20))
def test_sizes(seed: int, tmp_path: Path) -> None:
    width, height = np.random.default_rng(seed).integers(1, 900, 2).tolist()
    path = tmp_path / "picture.jpg"
    path.write_bytes(encoded(picture(seed, width=width, height=height), "JPEG", quality=30))
    assert ours(path) == theirs(path)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (4, 200), (200, 4), (5, 5), (64, 64)])
def test_small(width: int, height: int, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(picture(0, width=width, height=height), "PNG"))
    digits, quality = ours(path)
    assert (digits, quality) == theirs(path)
    if min(width, height) < 5:
        assert (digits, quality) == ("0" * 64, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_not_turned(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, turned = tmp_path / "plain.jpg", tmp_path / "turned.jpg"
    plain.write_bytes(encoded(picture(1), "JPEG"))
    turned.write_bytes(encoded(picture(1), "JPEG", exif=exif))
    assert ours(turned) == theirs(turned) == ours(plain)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_first_frame_of_an_animation(format: str, tmp_path: Path) -> None:
    animated, first = tmp_path / "animated", tmp_path / "first"
    frames = [picture(seed) for seed in (1, 2, 3)]
    options = {"lossless": True} if format == "WEBP" else {}
    animated.write_bytes(
        encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    )
    first.write_bytes(encoded(frames[0], format, **options))
    with Image.open(animated) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert ours(animated) == theirs(animated)
    if format != "AVIF":  # Its frames are compressed with each other in mind.
        assert ours(animated) == ours(first)


def test_sixteen_bits(tmp_path: Path) -> None:
    grey = np.asarray(picture(4, "L")).astype(np.uint16)
    for name, values in (("bright.png", grey * 257), ("dark.png", grey), ("bright.tiff", grey * 9)):
        Image.fromarray(values).save(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.mode == "I;16"
        assert ours(tmp_path / name) == theirs(tmp_path / name)
    # From 256 on all is white.
    assert ours(tmp_path / "dark.png")[1] == 100
    assert ours(tmp_path / "bright.png")[1] == 0


@pytest.mark.parametrize(
    ("mode", "values"),
    [("I", np.int32), ("F", np.float32), ("I;16B", ">u2")],
)
def test_numbers_that_are_no_colours(mode: str, values: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.tiff"
    Image.fromarray(np.asarray(picture(5, "L")).astype(values)).save(path)
    with pytest.raises(ValueError, match=f"has pixels of mode {mode}, which PDQ is not defined"):
        hash_image(path)
    with pytest.raises(ValueError, match="Buffer dtype mismatch"):
        theirs(path)


def test_path_bytes_and_file(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(picture(6), "PNG"))
    digits, quality = theirs(path)
    with path.open("rb") as file:
        for each in (path, str(path), path.read_bytes(), file, io.BytesIO(path.read_bytes())):
            code, found = hash_image(each)
            assert (code.tobytes().hex(), found) == (digits, quality)
    code, found = hash_pixels(pixels(6))
    assert (code.tobytes().hex(), found) == (digits, quality)


@pytest.mark.parametrize("side", [50_000, 2_000_000_000])
def test_bomb(side: int) -> None:
    with pytest.raises(ValueError, match=r"is too large: .*pixels"):
        hash_image(png_claiming(side, side))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_between_pillows_warning_and_its_limit() -> None:
    with pytest.raises(ValueError, match="too large: 10,000 x 10,000 are more than 89,478,485 pix"):
        hash_image(png_claiming(10_000, 10_000))


def test_own_limit() -> None:
    small = encoded(picture(7, width=100, height=100), "PNG")
    assert hash_image(small, max_pixels=10_000).quality == 100
    with pytest.raises(ValueError, match="is too large: 100 x 100 are more than 9,999 pixels"):
        hash_image(small, max_pixels=9_999)


@pytest.mark.parametrize("content", [b"", b"text\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 5000])
def test_no_picture(content: bytes) -> None:
    with pytest.raises(NotAPicture, match="is no picture of a known format"):
        hash_image(content)


def test_postscript_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "picture.eps"
    picture(8).save(path, "EPS")
    with Image.open(path) as image:
        assert image.format == "EPS"
    with pytest.raises(NotAPicture):
        hash_image(path)


def test_errors_name_the_file(tmp_path: Path) -> None:
    whole = encoded(picture(9), "JPEG", quality=95)
    path = tmp_path / "picture.jpg"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=rf"^{path}: is damaged: image file is truncated"):
        hash_image(path)
    with pytest.raises(FileError, match=r"^is damaged: image file is truncated"):
        hash_image(path.read_bytes())
    path.write_bytes(b"text")
    with pytest.raises(NotAPicture, match=rf"^{path}: is no picture of a known format"):
        hash_image(path)
    with pytest.raises(FileNotFoundError, match="missing"):
        hash_image(tmp_path / "missing")


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pdqhash", None)
    with pytest.raises(ImportError, match=r"pip install 'hashmatch\[images\]'"):
        hash_image(encoded(picture(10), "PNG"))


def test_digests(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for size in (1, 1 << 20, (1 << 21) + 17):
        content = np.random.default_rng(size).bytes(size)
        path.write_bytes(content)
        expected = {name: hashlib.new(name, content).digest() for name in DIGESTS}
        assert digest_file(path, DIGESTS) == expected
        assert digest_file(io.BytesIO(content), ["sha1"]) == {"sha1": expected["sha1"]}
    with pytest.raises(ValueError, match="no digest 'crc32': there are md5, sha1, sha256"):
        digest_file(path, ["crc32"])
    with pytest.raises(ValueError, match=rf"^{tmp_path}: is a folder"):
        digest_file(tmp_path, ["md5"])
    with pytest.raises(FileNotFoundError):
        digest_file(tmp_path / "missing", ["md5"])
