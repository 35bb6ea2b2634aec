"""Makes a folder of pictures and a video to scan, from the photographs of scikit-image.

    pip install 'hashmatch[video]' scikit-image
    python examples/make_folder.py FOLDER

Some are edited copies of what is on shared.csv, others are on no list, and two cannot be read.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageFilter

#: What the video shows, a second each.
SHOWN = ("rocket.jpg", "coffee.png", "chelsea.png", "astronaut.png", "camera.png")
VIDEO_SIZE = 480, 360


def photograph(name: str) -> Image.Image:
    with files("skimage.data").joinpath(name).open("rb") as file:
        return Image.open(file).convert("RGB")


def make_pictures(folder: Path) -> None:
    photograph("astronaut.png").resize((256, 256)).save(folder / "IMG_0141.jpg", quality=30)
    photograph("coffee.png").save(folder / "breakfast.webp", quality=40)
    photograph("chelsea.png").save(folder / "cat.jpg", quality=60)
    blur = ImageFilter.GaussianBlur(2)
    photograph("rocket.jpg").filter(blur).save(folder / "launch (1).png")
    photograph("retina.jpg").resize((500, 500)).save(folder / "eye.png")
    Image.new("RGB", (300, 300), "white").save(folder / "blank.png")


def make_video(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height = VIDEO_SIZE
        stream.pix_fmt = "yuv420p"
        for name in SHOWN:
            pixels = np.asarray(photograph(name).resize(VIDEO_SIZE))
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            for _ in range(10):
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True)
    make_pictures(folder)
    make_video(folder / "clip.mp4")
    half = (folder / "cat.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(half[: len(half) // 2])
    (folder / "empty.png").touch()
    (folder / "readme.txt").write_text("No picture.\n")


if __name__ == "__main__":
    main()
