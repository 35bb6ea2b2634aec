"""A folder to scan, and a database in which some of it is known."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

import hashmatch
from hashmatch.hashing import digest_file, hash_image, video_frames
from media import encoded, picture, pixels, write_video

SCRIPT = "<script>alert(1)<&script>"


def make_folder(top: Path) -> None:
    """known/, a database; files/, in which two pictures and two videos match, and a text by MD5."""
    files = top / "files"
    (files / "deep" / "er").mkdir(parents=True)
    original, video = picture(1, width=300, height=200), [pixels(seed) for seed in range(40, 52)]
    (files / f"{SCRIPT}\n.jpg").write_bytes(encoded(original, "JPEG", quality=40))
    (files / "deep" / "er" / "copy.txt").write_bytes(encoded(original.resize((150, 100)), "PNG"))
    (files / "other.png").write_bytes(encoded(picture(2), "PNG"))
    (files / "plain.png").write_bytes(encoded(Image.new("RGB", (50, 50)), "PNG"))
    (files / "\udcff.txt").write_bytes(b"a text that is known\n")
    (files / "notes.txt").write_bytes(b"another text\n")
    (files / "empty.gif").touch()
    (files / "text.jpg").write_bytes(b"text\n")
    (files / "cut.jpg").write_bytes(encoded(original, "JPEG")[:3000])
    os.mkfifo(files / "pipe")
    (files / "link").symlink_to("/etc/passwd")
    write_video(files / "video.mkv", video, 1)
    write_video(files / "with the picture.mkv", [*video[6:], np.asarray(original)[:120, :160]], 1)
    write_video(files / "unknown.mkv", [pixels(seed) for seed in range(80, 84)], 1)

    with hashmatch.open(top / "known", "c") as database:
        database.create("pictures", contributor="acme")
        database.create("videos", contributor="example")
        database.create("texts")
        with database.change("pictures") as change:
            code = hash_image(encoded(original, "PNG")).code
            inside = hash_image(encoded(Image.fromarray(np.asarray(original)[:120, :160]), "PNG"))
            refs = [f"=1+1,{SCRIPT}", "inside"]
            labels = [["<b>bold</b>", "\u202etxt"], []]
            change.add("pdq", np.stack([code, inside.code]), refs=refs, labels=labels)
            change.opinion(refs[0], contributor="acme", verdict="positive")
        with database.change("videos") as change:
            frames = list(video_frames(files / "video.mkv"))
            change.add(
                "pdq",
                np.stack([frame.code for frame in frames]),
                refs=["film"] * len(frames),
                kind="video",
                quality=[frame.quality for frame in frames],
                time_ms=[frame.time_ms for frame in frames],
            )
        with database.change("texts") as change:
            digest = digest_file(files / "\udcff.txt", ["md5"])["md5"]
            change.add("md5", [digest.hex()], refs=["text"], kind="file")
