"""Files over HTTP: hashed in a process of their own, and looked up by all their hashes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import hashmatch
import media
from hashmatch import Database
from hashmatch.hashing import FileHashes, hash_file, hash_image
from hashmatch.server import files, hashing
from hashmatch.vpdq import frame_text
from oracle import flipped
from server_answers import rows_of
from server_hashing import HostileTask
from serving import application, problem, with_application

URL = "/v1/match/file"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    media.write_video(folder / "film.mkv", [media.pixels(number // 10) for number in range(30)])
    for seed in range(2):
        (folder / f"{seed}.png").write_bytes(media.encoded(media.picture(seed), "PNG"))
    (folder / "flat.png").write_bytes(media.encoded(Image.new("RGB", (160, 120), (9, 9, 9)), "PNG"))
    (folder / "letter.txt").write_bytes(b"To whom it may concern")
    return folder


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[Database]:
    film = hash_file(str(folder / "film.mkv"), ["vpdq"]).frames
    code = hash_image(folder / "0.png").code
    with hashmatch.open(folder / "bank", "c") as database:
        database.create("shared", contributor="forum")
        database.create("letters")
        with database.change("shared") as change:
            change.add("pdq", np.stack([frame.code for frame in film]), refs=["film"] * len(film),
                       kind="video", quality=[frame.quality for frame in film])  # fmt: skip
            change.add("pdq", np.stack([flipped(code, 20), code]), refs=["far", "near"])
            change.opinion("near", contributor="agency", verdict="positive")
        with database.change("letters") as change:
            digest = hashlib.md5((folder / "letter.txt").read_bytes()).digest()
            change.add("md5", digest, refs=["letter"], kind="file", labels=["post"])
        yield database


def test_a_file_matches_by_all_its_hashes(database: Database, folder: Path) -> None:
    async def use(client: httpx.AsyncClient) -> dict[str, Any]:
        answers = {}
        for name in ("0.png", "film.mkv", "letter.txt", "flat.png"):
            content = (folder / name).read_bytes()
            headers = {"content-type": "application/x-anything"}
            reply = await client.post(URL, content=content, headers=headers)
            assert reply.status_code == 200, reply.text
            document = reply.json()
            assert list(document) == ["generation", "kind", "reason", "hashes", "matches"]
            assert reply.headers["hashmatch-generation"] == str(database.generation)
            md5 = {"type": "md5", "hash": hashlib.md5(content).hexdigest()}
            assert md5 in document["hashes"]
            answers[name] = document
        return answers

    def rows(type: str, code: Any) -> list[dict[str, Any]]:
        found = rows_of(database.match(type, code))
        return [{name: row[name] for name in row if name != "query"} for row in found]

    answers = with_application(database.path, use)
    picture = hash_image(folder / "0.png")
    pdq = {"type": "pdq", "hash": picture.code.tobytes().hex(), "quality": picture.quality}
    assert answers["0.png"]["kind"] == "image"
    assert answers["0.png"]["hashes"][0] == pdq
    assert answers["0.png"]["matches"] == {"pdq": rows("pdq", picture.code), "md5": []}
    assert [row["ref"] for row in rows("pdq", picture.code)] == ["film", "near", "far"]
    film = hash_file(str(folder / "film.mkv"), ["vpdq"]).frames
    texts = [frame_text(f.code.tobytes().hex(), f.quality, f.time_ms) for f in film]
    assert answers["film.mkv"]["kind"] == "video"
    assert answers["film.mkv"]["hashes"][0] == {"type": "vpdq", "frames": texts}
    (whole, near, far) = answers["film.mkv"]["matches"]["vpdq"]
    assert (whole["ref"], whole["query_percent"], whole["kind"]) == ("film", 100, "video")
    assert {near["ref"], far["ref"]} == {"near", "far"}
    letter = answers["letter.txt"]
    assert (letter["kind"], letter["reason"]) == ("file", None)
    assert letter["matches"] == {"md5": rows("md5", bytes.fromhex(letter["hashes"][0]["hash"]))}
    assert letter["matches"]["md5"][0]["ref"] == "letter"
    flat = answers["flat.png"]
    assert "is below 50" in flat["reason"] and "pdq" not in flat["matches"]


def test_parameters(database: Database, folder: Path) -> None:
    picture = (folder / "0.png").read_bytes()

    async def use(client: httpx.AsyncClient) -> None:
        async def refs(query: str) -> dict[str, list[str]]:
            reply = await client.post(f"{URL}?{query}", content=picture)
            matches = reply.json()["matches"]
            return {name: [row["ref"] for row in rows] for name, rows in matches.items()}

        assert await refs("max_distance=19") == {"pdq": ["film", "near"], "md5": []}
        assert await refs("sets=letters") == {"pdq": [], "md5": []}
        assert await refs("sets=shared") == {"pdq": ["film", "near", "far"]}
        letter = (folder / "letter.txt").read_bytes()
        unknown = (await client.post(f"{URL}?sets=shared", content=letter)).json()
        assert (unknown["hashes"], unknown["matches"]) == ([], {})
        assert "nothing to match" in unknown["reason"]
        assert await refs("verdicts=positive") == {"pdq": ["near"], "md5": []}
        for query, field in (("max_distance=257", "max_distance"), ("sets=x", "sets"),
                             ("fields=ids", "fields"), ("quality_tolerance=101",
                             "quality_tolerance"), ("verdicts=x", "verdicts")):  # fmt: skip
            problem(await client.post(f"{URL}?{query}", content=picture), 400, field=field)
        problem(await client.post(URL, content=b""), 400)
        headers = {"content-encoding": "gzip"}
        problem(await client.post(URL, content=picture, headers=headers), 415)
        problem(await client.post(URL, content=picture, headers={"accept": "image/png"}), 406)
        problem(await client.post(URL, content=bytes(2_000_000)), 413)
        low = await client.post(
            f"{URL}?quality_tolerance=0", content=(folder / "flat.png").read_bytes()
        )
        assert low.json()["matches"]["pdq"] == [] and low.json()["reason"] is None

    with_application(database.path, use, max_body_bytes=1_000_000)


def test_hidden_distances(database: Database, folder: Path) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        reply = await client.post(URL, content=(folder / "0.png").read_bytes())
        rows = reply.json()["matches"]["pdq"]
        assert [row["ref"] for row in rows] == ["film", "far", "near"]  # by signal
        assert all("distance" not in row and "hash" not in row for row in rows)
        reply = await client.post(f"{URL}?max_distance=1", content=b"x")
        problem(reply, 403, field="max_distance")

    with_application(database.path, use, hide_distances=True)


def test_files_that_cannot_be_hashed(folder: Path, database: Database) -> None:
    """Where nothing could be looked up, that is an error; where only digests could, it is told."""
    bomb = media.png_claiming(100_000, 100_000)
    cut = (folder / "0.png").read_bytes()[:-500]

    async def use(client: httpx.AsyncClient) -> None:
        for content, reason in ((bomb, "too large"), (cut, "damaged")):
            reply = await client.post(f"{URL}?sets=shared", content=content)
            assert reason in problem(reply, 422)["detail"]
            reply = await client.post(URL, content=content)
            assert reason in reply.json()["reason"] and reply.json()["matches"] == {"md5": []}

    with_application(database.path, use)


def test_a_hostile_file_costs_only_itself(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "Task", HostileTask)
    monkeypatch.setattr(hashing, "_KILL_S", 1.5)
    monkeypatch.setattr(hashing, "MEMORY_BYTES", 512 << 20)
    picture = (folder / "0.png").read_bytes()

    async def use(client: httpx.AsyncClient) -> None:
        for content, reason in (
            (b"crash", "segmentation fault"), (b"grow", ""), (b"hang", "longer than"),
        ):  # fmt: skip
            others = [asyncio.create_task(client.post(URL, content=picture)) for _ in range(2)]
            reply = await client.post(URL, content=content)
            assert reason in problem(reply, 422)["detail"]
            assert [(await other).status_code for other in others] == [200, 200]

    with_application(database.path, use)


def test_few_files_wait(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "Task", HostileTask)
    monkeypatch.setattr(hashing, "_KILL_S", 1)

    async def run() -> list[httpx.Response]:
        monkeypatch.setattr(hashing, "cores", lambda: 1)
        async with application(database.path) as client:
            asked = [asyncio.create_task(client.post(URL, content=b"hang"))]
            await asyncio.sleep(0.1)
            asked += [asyncio.create_task(client.post(URL, content=b"x")) for _ in range(8)]
            return [await each for each in asked]

    statuses = [reply.status_code for reply in asyncio.run(run())]
    assert statuses.count(503) == 4 and statuses.count(200) == 4 and statuses[0] == 422


def test_an_answer_is_of_one_generation(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change between two lookups of one file has them made again."""
    content = (folder / "0.png").read_bytes()
    matches = files._matches
    looked_up: list[int] = []

    with hashmatch.open(tmp_path, "c") as database:
        database.create("shared")
        with database.change("shared") as change:
            change.add("md5", bytes(16), refs=["other"])

        def between(name: str, code: bytes, where: Any, distance: Any, service: Any) -> Any:
            found = matches(name, code, where, distance, service)
            looked_up.append(found.generation)
            if len(looked_up) == 1:
                with database.change("shared") as change:
                    change.add("md5", hashlib.md5(content).digest(), refs=["late"])
                service.database.refresh()
            return found

        monkeypatch.setattr(files, "_matches", between)

        async def use(client: httpx.AsyncClient) -> httpx.Response:
            return await client.post(URL, content=content)

        reply = with_application(tmp_path, use)
    assert looked_up == [1, 2, 2, 2]
    assert reply.json()["generation"] == 2
    assert [row["ref"] for row in reply.json()["matches"]["md5"]] == ["late"]


def test_too_many_matches(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(URL, content=(folder / "0.png").read_bytes())

    monkeypatch.setattr(files, "MAX_MATCHES", 2)
    problem(with_application(database.path, use), 413)


@pytest.mark.parametrize(("name", "extra"), [("0.png", "images"), ("film.mkv", "video")])
def test_without_the_extra(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    """The process that hashes says what is missing; so does the reply."""
    missing = f"nothing is installed: pip install 'hashmatch[{extra}]'"

    def need(module: str, wanted: str) -> Any:
        raise ImportError(missing)

    async def hashed(self: Any, contents: bytes, types: Any) -> FileHashes:
        return FileHashes("video" if extra == "video" else "image", reason=missing)

    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(f"{URL}?sets=shared", content=(folder / name).read_bytes())

    monkeypatch.setattr(files, "need", need)
    monkeypatch.setattr(hashing.Hasher, "hash", hashed)
    assert extra in problem(with_application(database.path, use), 415)["detail"]
