"""vPDQ: which frames are hashed, what they are called, and what of a damaged video is kept.

Meta's vpdq cannot be installed without FFmpeg's headers, so its rules are tested here, on videos
without loss, against PDQ of the very pictures that were put in.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hashmatch.hashing import NotAVideo, VideoFrame, video_frames
from hashmatch.hashing.images import hash_pixels
from hashmatch.hashing.videos import NoVideoInIt, frame_pixels
from media import encoded, picture, pixels, write_video

FRAMES = [pixels(seed) for seed in range(64)]


def plain(frames: Sequence[VideoFrame]) -> list[tuple[bytes, int, int]]:
    return [(frame.code.tobytes(), frame.quality, frame.time_ms) for frame in frames]


def expected(
    frames: Sequence[NDArray[np.uint8]], every: int, rate: float
) -> list[tuple[bytes, int, int]]:
    return [
        (code.tobytes(), quality, round(number / rate * 1000))
        for number in range(0, len(frames), every)
        for code, quality in [hash_pixels(frames[number])]
    ]


@pytest.mark.parametrize(
    ("rate", "every"),
    [
        (10, 10),
        (1, 1),
        (Fraction(30_000, 1001), 29),  # The whole part of 29.97.
        (Fraction(24_000, 1001), 23),
        (Fraction(3, 2), 1),
        (Fraction(1, 2), 1),  # Never less than every frame.
        (60, 60),
    ],
)
def test_frames_and_times(rate: Fraction | int, every: int, tmp_path: Path) -> None:
    path = tmp_path / "video.mkv"
    write_video(path, FRAMES, rate)
    found = list(video_frames(path))
    assert all(frame.code.dtype == np.uint8 and frame.code.shape == (32,) for frame in found)
    assert plain(found) == expected(FRAMES, every, float(rate))
    assert {frame.quality for frame in found} == {100}


@pytest.mark.parametrize(("seconds", "every"), [(0, 1), (0.05, 1), (0.35, 3), (2.5, 25), (100, 64)])
def test_seconds_per_hash(seconds: float, every: int, tmp_path: Path) -> None:
    path = tmp_path / "video.mkv"
    write_video(path, FRAMES, 10)
    found = plain(list(video_frames(path, seconds_per_hash=seconds)))
    assert found == expected(FRAMES, every, 10)


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_seconds_per_hash_that_are_none(seconds: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seconds_per_hash must be 0 or more"):
        next(video_frames(tmp_path, seconds_per_hash=seconds))


def test_frames_held_back_by_the_decoder(tmp_path: Path) -> None:
    """The last frames of a stream with B frames come when the decoder is emptied; of a video that
    is not the first stream of its file vpdq does not do so.
    """
    options = {"bf": "3", "g": "64", "sc_threshold": "1000000000"}
    for first, name in ((False, "picture.mkv"), (True, "sound.mkv")):
        write_video(
            tmp_path / name, FRAMES, codec="mpeg4", format="yuv420p", sound_first=first,
            options=options,
        )  # fmt: skip
    whole = plain(list(video_frames(tmp_path / "picture.mkv", seconds_per_hash=0)))
    cut = plain(list(video_frames(tmp_path / "sound.mkv", seconds_per_hash=0)))
    assert len(whole) == len(FRAMES)
    assert cut == whole[: len(cut)]
    assert 0 < len(whole) - len(cut) <= 3


@pytest.mark.parametrize("colours", [(1, 1), (9, 1), (1, 2), (5, 2)])
def test_colours_that_the_file_names_are_not_taken(
    colours: tuple[int, int], tmp_path: Path
) -> None:
    """BT.709 and BT.2020; limited and full range."""
    write_video(tmp_path / "none.mkv", FRAMES[:20], format="yuv420p", codec="ffv1")
    named = tmp_path / "named.mkv"
    write_video(named, FRAMES[:20], format="yuv420p", codec="ffv1", colours=colours)
    import av

    with av.open(str(named)) as container:
        frame = next(container.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == colours
    plainly = list(video_frames(tmp_path / "none.mkv", seconds_per_hash=0))
    assert plain(list(video_frames(named, seconds_per_hash=0))) == plain(plainly)


@pytest.mark.parametrize(
    ("codec", "format", "most"),
    [
        ("ffv1", "gray", 2),
        ("ffv1", "yuv444p", 4),
        ("ffv1", "yuv422p10le", 4),
        ("ffv1", "bgr0", 0),
        ("utvideo", "gbrp", 0),
        ("png", "rgb24", 0),
    ],
)
def test_kinds_of_pixels(codec: str, format: str, most: int, tmp_path: Path) -> None:
    """Their brightness comes through, whatever the way in which they are stored."""
    path = tmp_path / ("video.mkv" if codec == "ffv1" else "video.avi")
    write_video(path, FRAMES[:11], codec=codec, format=format)
    found = list(video_frames(path))
    for frame, (code, _, time_ms) in zip(found, expected(FRAMES[:11], 10, 10), strict=True):
        assert frame.time_ms == time_ms
        assert np.unpackbits(frame.code ^ np.frombuffer(code, np.uint8)).sum() <= most


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mpg", "mpeg1video", "yuv420p"),
        ("a.ts", "mpeg2video", "yuv420p"),
        ("a.flv", "flv1", "yuv420p"),
    ],
)
def test_containers_whatever_the_name(name: str, codec: str, format: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write_video(path, FRAMES[:26], 25, codec=codec, format=format)
    hidden = path.rename(tmp_path / "http:.txt")
    found = list(video_frames(hidden))
    assert [frame.time_ms for frame in found] == [0, 1000]
    for frame, (code, _, _) in zip(found, expected(FRAMES[:26], 25, 25), strict=True):
        assert np.unpackbits(frame.code ^ np.frombuffer(code, np.uint8)).sum() <= 16


def test_one_frame_after_another(tmp_path: Path) -> None:
    """A frame is there before the next is decoded."""
    path = tmp_path / "video.mkv"
    write_video(path, FRAMES, 1)
    with path.open("rb") as file:
        frames = video_frames(file)
        first = next(frames)
        read = file.tell()
        assert plain([first]) == expected(FRAMES[:1], 1, 1)
        assert 0 < read < path.stat().st_size
        assert plain(list(frames)) == expected(FRAMES, 1, 1)[1:]


def test_damaged(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, FRAMES, 1, codec="libx264", format="yuv420p", options={"g": "1"})
    whole = plain(list(video_frames(path)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40_000] = bytes(40_000)
    path.write_bytes(content)
    found: list[VideoFrame] = []
    with pytest.raises(ValueError, match=r"is damaged after \d+ frames: invalid data"):
        for frame in video_frames(path):
            found.append(frame)
    assert 10 < len(found) < len(FRAMES)
    assert plain(found)[:10] == whole[:10]


def test_no_video(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"", b"x", b"text\n" * 1000, bytes(100_000), encoded(picture(1), "PNG")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"is empty|cannot be opened as a video"):
            list(video_frames(path))


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {}\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        "<BaseURL>{}</BaseURL></Period></MPD>",
    ],
)
def test_playlists_lead_nowhere(playlist: str, tmp_path: Path) -> None:
    video, path = tmp_path / "video.ts", tmp_path / "list.m3u8"
    write_video(video, FRAMES[:5], 25, codec="mpeg2video", format="yuv420p")
    path.write_text(playlist.format(video))
    with pytest.raises(NotAVideo):
        list(video_frames(path))


def test_sound_alone(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(NoVideoInIt, match="has no video in it"):
        list(video_frames(path))


def test_size_limits(tmp_path: Path) -> None:
    path = tmp_path / "video.mkv"
    write_video(path, FRAMES[:2])
    assert len(list(video_frames(path, max_pixels=160 * 120))) == 1
    with pytest.raises(ValueError, match="is too large: frames of 160 x 120 are more than 19,199"):
        list(video_frames(path, max_pixels=160 * 120 - 1))
    write_video(path, [pixels(0, 4, 40)])
    with pytest.raises(ValueError, match="is too small: 4 x 40"):
        list(video_frames(path))


def test_frame_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "video.mkv"
    write_video(path, FRAMES, Fraction(30_000, 1001))
    times = [frame.time_ms for frame in video_frames(path)]
    assert times == [0, 968, 1935]
    for number, time_ms in zip((0, 29, 58), times, strict=True):
        assert np.array_equal(frame_pixels(path, time_ms), FRAMES[number])
    assert np.array_equal(frame_pixels(path, 99_000), FRAMES[58])


def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "video.mkv"
    write_video(path, FRAMES[:2])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install 'hashmatch\[video\]'"):
        list(video_frames(path))
