"""The measured work of videos, one function a job: uploads of 300 frames against known videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.random import SFC64, Generator
from numpy.typing import NDArray

import datasets
import hashmatch
import peers
from database_jobs import SET, VIDEO_FRAMES, folder, frames, video_refs
from datasets import Codes
from hashmatch import Frames, _core
from hashmatch.database import Database
from hashmatch.vpdq import format_frames
from record import Figure, faster
from timing import in_turns, median, p99, pin, seconds, unpin

PDQ = 31

#: Of a video that shares frames with others, how many are its own; and what the others are drawn
#: from: so many pictures (black, logos, openings), each in so many forms a few bits apart.
OWN_FRAMES = 60
SHARED_PICTURES = 1_000
FORMS = 10


def against_threatexchange(rows: int) -> Iterator[Figure]:
    """Videos without a frame in common, against python-threatexchange's VPDQIndex."""
    codes = datasets.make("uniform", rows).codes[: rows // VIDEO_FRAMES * VIDEO_FRAMES]
    refs = video_refs(len(codes))
    uploads = [format_frames(Frames(each)) for each in _copies(codes, 60)]
    peer = peers.ThreatExchangeVideos(
        (format_frames(Frames(codes[at : at + VIDEO_FRAMES])), refs[at])
        for at in range(0, len(codes), VIDEO_FRAMES)
    )
    with folder() as path, _loaded(path, codes) as database:
        compared = 0
        for upload in uploads[:4]:
            matches = database.match_videos(upload)
            percents = zip(matches.query_percent, matches.video_percent, strict=True)
            ours = dict(zip(matches.ref, percents, strict=True))
            if ours != peer.query(upload):
                raise AssertionError("python-threatexchange and hashmatch differ")
            compared += len(ours)
        if not compared:
            raise AssertionError("nothing matched: these uploads compare nothing")
        ours_s, theirs_s = in_turns(
            3,
            [partial(database.match_videos, upload, threads=1) for upload in uploads],
            [partial(peer.query, upload) for upload in uploads[:6]],
        )
    yield faster(
        f"{VIDEO_FRAMES} frames against {len(codes) / 1e6:g}M of videos",
        median(ours_s) * 1e6,
        "python-threatexchange's VPDQIndex",
        median(theirs_s) * 1e6,
        100,
    )


def sharing(rows: int) -> Iterator[Figure]:
    """10^5 videos of which most frames are shared by many."""
    random = Generator(SFC64(11))
    count = 3 * rows // VIDEO_FRAMES
    pool = datasets.uniform(random, SHARED_PICTURES, 256)
    pool = datasets.perturbed(pool.repeat(FORMS, axis=0), 0, 6, random)
    codes = _sharing(pool, count, OWN_FRAMES, random)
    kinds = {
        "a copy of one of them": _copies(codes, 60, least_kept=0.85),
        "another of their kind": _split(_sharing(pool, 30, OWN_FRAMES, random)),
        "nothing but shared frames": _split(_sharing(pool, 30, 0, random)),
    }
    with folder() as path, _loaded(path, codes) as database:
        for uploads in kinds.values():
            _assert_exact(database, codes, uploads[0])
        times = {
            name: np.array(
                [seconds(partial(database.match_videos, Frames(u), threads=1)) for u in uploads]
            )
            for name, uploads in kinds.items()
        }
    work = f"{VIDEO_FRAMES} frames against {count:,} videos that share most of theirs"
    every = np.concatenate(list(times.values()))
    yield Figure(f"{work}: median", median(every) * 1e3, "ms")
    yield Figure(f"{work}: p99", p99(every) * 1e3, "ms")
    for name, taken in times.items():
        yield Figure(f"the upload is {name}: median", median(taken) * 1e3, "ms")


def _loaded(path: Path, codes: Codes) -> Database:
    database = hashmatch.open(path, "c")
    database.create(SET)
    unpin()
    database.load(SET, frames(codes, video_refs(len(codes))))
    pin()
    # The first search after a load looks up which signals are videos'.
    database.match_videos(Frames(codes[:1]))
    return database


def _split(codes: Codes) -> list[Codes]:
    return [codes[at : at + VIDEO_FRAMES] for at in range(0, len(codes), VIDEO_FRAMES)]


def _copies(codes: Codes, count: int, least_kept: float = 0.7) -> list[Codes]:
    """Half are unrelated, half are videos of which some frames are cut out for others, and the rest
    lies at a distance of 0 to 31.
    """
    random = Generator(SFC64(7))
    uploads = _split(datasets.uniform(random, count // 2 * VIDEO_FRAMES, 256))
    for _ in range(count - len(uploads)):
        video = VIDEO_FRAMES * int(random.integers(0, len(codes) // VIDEO_FRAMES))
        copy = datasets.perturbed(codes[video : video + VIDEO_FRAMES], 0, PDQ, random)
        cut = random.permutation(VIDEO_FRAMES)[: int(300 * (1 - random.uniform(least_kept, 1)))]
        copy[cut] = datasets.uniform(random, len(cut), 256)
        uploads.append(copy)
    return [uploads[place] for place in random.permutation(count)]


def _sharing(pool: Codes, count: int, own: int, random: Generator) -> Codes:
    """Videos with so many frames of their own each, the others drawn from the pool; of its pictures
    some are far more common than others, as Zipf's law has it.
    """
    codes = np.empty((count, VIDEO_FRAMES, 32), np.uint8)
    codes[:, :own] = datasets.uniform(random, count * own, 256).reshape(count, own, 32)
    chances = np.cumsum(1 / np.arange(1, SHARED_PICTURES + 1))
    for video in codes:
        drawn = random.random(VIDEO_FRAMES - own) * chances[-1]
        pictures = np.searchsorted(chances, drawn)
        video[own:] = pool[pictures * FORMS + random.integers(0, FORMS, len(pictures))]
    return codes.reshape(-1, 32)


def _assert_exact(database: Database, codes: Codes, upload: Codes) -> None:
    """The answer is that of comparing every frame with every other."""
    upload = np.unique(upload, axis=0)
    hits: NDArray[np.int64] = np.zeros(len(codes) // VIDEO_FRAMES, np.int64)
    for frame in upload:
        found = _core.scan(frame[None], codes, PDQ, 2)
        hits[np.unique(found.id // VIDEO_FRAMES).astype(np.int64)] += 1
    percent = hits * 100 / len(upload)
    (wanted,) = np.nonzero(percent >= 80)
    matches = database.match_videos(Frames(upload))
    order = np.argsort(matches.item)
    if matches.item[order].tolist() != (wanted * VIDEO_FRAMES).tolist() or not np.array_equal(
        matches.query_percent[order], percent[wanted]
    ):
        raise AssertionError("the answer is not that of comparing all frames")


#: By name, in the order in which they run.
VIDEO_JOBS: dict[str, Callable[[int], Iterator[Figure]]] = {
    "video": against_threatexchange,
    "video-shared": sharing,
}
