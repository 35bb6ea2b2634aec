"""The edits that the example uploads went through: one table, name -> what it does.

Each edit changes one thing and keeps the rest lossless, so that a row of the survival table tells
about that edit alone. All are deterministic.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Edit:
    """`apply` maps an RGB picture to an RGB picture; `suffix` is what the copy is stored as."""

    what: str
    apply: Change
    suffix: str = ".png"


def _resized(factor: float) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        size = (round(image.width * factor), round(image.height * factor))
        return image.resize(size, Image.Resampling.LANCZOS)

    return apply


def _jpeg(quality: int) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        stored = io.BytesIO()
        image.save(stored, "JPEG", quality=quality)
        return Image.open(stored).convert("RGB")

    return apply


def _palette(colours: int) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        return image.quantize(colours).convert("RGB")

    return apply


def _cropped(share: float) -> Change:
    """Cuts `share` of the width and of the height off, half of it on each side."""

    def apply(image: Image.Image) -> Image.Image:
        x, y = round(image.width * share / 2), round(image.height * share / 2)
        return image.crop((x, y, image.width - x, image.height - y))

    return apply


def _corner_logo(image: Image.Image) -> Image.Image:
    logo = _text("example.org", image.width // 5, (0, 0, 0, 255), (255, 255, 255, 255))
    margin = image.width // 50
    place = (image.width - logo.width - margin, image.height - logo.height - margin)
    return _overlaid(image, logo, place)


def _diagonal_text(image: Image.Image) -> Image.Image:
    text = _text("SAMPLE", round(image.width * 0.9), (255, 255, 255, 128), (255, 255, 255, 0))
    text = text.rotate(30, Image.Resampling.BICUBIC, expand=True)
    place = ((image.width - text.width) // 2, (image.height - text.height) // 2)
    return _overlaid(image, text, place)


def _text(
    words: str, width: int, colour: tuple[int, int, int, int], ground: tuple[int, int, int, int]
) -> Image.Image:
    # Drawn large in Pillow's own font, then scaled, so that it takes the same share of any picture.
    font = ImageFont.load_default(size=96)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(words))
    text = Image.new("RGBA", (right - left + 24, bottom - top + 24), ground)
    ImageDraw.Draw(text).text((12 - left, 12 - top), words, fill=colour, font=font)
    return text.resize((width, round(text.height * width / text.width)), Image.Resampling.LANCZOS)


def _overlaid(image: Image.Image, layer: Image.Image, place: tuple[int, int]) -> Image.Image:
    result = image.copy()
    result.paste(layer, place, layer)
    return result


def _greyscale(image: Image.Image) -> Image.Image:
    return image.convert("L").convert("RGB")


def _saturated(factor: float) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        return ImageEnhance.Color(image).enhance(factor)

    return apply


def _hue_shifted(degrees: float) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        hue, saturation, value = image.convert("HSV").split()
        shifted = hue.point([(h + round(degrees * 256 / 360)) % 256 for h in range(256)])
        return Image.merge("HSV", (shifted, saturation, value)).convert("RGB")

    return apply


def _gamma(exponent: float) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        curve = [round(255 * (level / 255) ** exponent) for level in range(256)]
        return image.point(curve * 3)

    return apply


def _blurred(radius: float) -> Change:
    """`radius` is in pixels of a picture whose longer side is 512, so all are blurred alike."""

    def apply(image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(radius * max(image.size) / 512))

    return apply


def _noisy(deviation: float) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        pixels = np.asarray(image, dtype=np.float64)
        noise = np.random.default_rng(0).normal(0.0, deviation, pixels.shape)
        return Image.fromarray(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8))

    return apply


def _rotated(degrees: float) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        return image.rotate(degrees, Image.Resampling.BICUBIC)

    return apply


def _rotated_90(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.ROTATE_90)


def _bordered(share: float) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        return ImageOps.expand(image, round(max(image.size) * share), "white")

    return apply


def _letterboxed(share: float) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        bar = round(image.height * share)
        return ImageOps.expand(image, (0, bar, 0, bar), "black")

    return apply


EDITS = {
    "unchanged": Edit("the same picture", Image.Image.copy),
    "resize200": Edit("twice the width and height", _resized(2.0)),
    "resize50": Edit("half the width and height", _resized(0.5)),
    "resize25": Edit("a quarter of the width and height", _resized(0.25)),
    "jpeg90": Edit("JPEG, quality 90", _jpeg(90), ".jpg"),
    "jpeg50": Edit("JPEG, quality 50", _jpeg(50), ".jpg"),
    "jpeg20": Edit("JPEG, quality 20", _jpeg(20), ".jpg"),
    "jpeg5": Edit("JPEG, quality 5", _jpeg(5), ".jpg"),
    "palette16": Edit("PNG of 16 colours", _palette(16)),
    "grey": Edit("greyscale", _greyscale),
    "saturate": Edit("saturation doubled", _saturated(2.0)),
    "hue30": Edit("hue turned by 30 degrees", _hue_shifted(30)),
    "brighten": Edit("gamma, exponent 0.6", _gamma(0.6)),
    "darken": Edit("gamma, exponent 1.6", _gamma(1.6)),
    "invert": Edit("negative", ImageOps.invert),
    "blur1": Edit("Gaussian blur, 1 pixel in 512", _blurred(1)),
    "blur2": Edit("Gaussian blur, 2 pixels in 512", _blurred(2)),
    "blur4": Edit("Gaussian blur, 4 pixels in 512", _blurred(4)),
    "noise10": Edit("Gaussian noise, deviation 10 of 255", _noisy(10)),
    "noise40": Edit("Gaussian noise, deviation 40 of 255", _noisy(40)),
    "logo": Edit("opaque logo in a corner, a fifth of the width", _corner_logo),
    "text": Edit("half-transparent text across the picture", _diagonal_text),
    "crop2": Edit("2 % of width and height cut off, evenly", _cropped(0.02)),
    "crop5": Edit("5 % cut off", _cropped(0.05)),
    "crop10": Edit("10 % cut off", _cropped(0.10)),
    "crop20": Edit("20 % cut off", _cropped(0.20)),
    "border5": Edit("white border, 5 % of the longer side", _bordered(0.05)),
    "letterbox": Edit("black bars above and below, 10 % each", _letterboxed(0.10)),
    "rotate1": Edit("turned by 1 degree, black corners", _rotated(1)),
    "rotate2": Edit("turned by 2 degrees", _rotated(2)),
    "rotate5": Edit("turned by 5 degrees", _rotated(5)),
    "rotate90": Edit("turned by 90 degrees", _rotated_90),
    "mirror": Edit("left and right swapped", ImageOps.mirror),
}
