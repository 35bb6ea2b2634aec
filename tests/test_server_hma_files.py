"""HMA's POST /m/lookup: files hashed and looked up, and forms that hold none."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hashmatch
from hashmatch.hashing import hash_contents
from hashmatch.server.hma_files import form_file
from hashmatch.server.problems import Problem
from serving import problem, with_application


def picture(detail: bool) -> bytes:
    noise = np.random.default_rng(8).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(noise if detail else np.zeros_like(noise))
    file = io.BytesIO()
    image.resize((256, 256)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """One picture and one file that is held as a video, in sets of their own."""
    found = hash_contents(io.BytesIO(picture(True)), ["pdq"]).picture
    assert found is not None and found.quality >= 50
    with hashmatch.open(tmp_path / "media", "c") as database:
        for name in ("photos", "films"):
            database.create(name)
        with database.change("photos") as change:
            change.add("pdq", found.code[None] ^ np.eye(1, 32, 3, np.uint8), refs=["p"])
        with database.change("films") as change:
            change.add("md5", [hashlib.md5(b"a film").hexdigest()], refs=["f"])
    return tmp_path / "media"


Sent: TypeAlias = tuple[str, dict[str, Any]]


def posted(path: Path, *sent: Sent) -> list[httpx.Response]:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post(url, **more) for url, more in sent]

    return with_application(path, use)


def test_files_are_hashed_and_looked_up_as_by_hma(media: Path) -> None:
    photo, film = {"photo": ("a.png", picture(True))}, {"video": ("a.mp4", b"a film")}
    near = {"photos": [{"bank_content_id": 0, "distance": "1"}]}
    same = {"films": [{"bank_content_id": 1, "distance": "-"}]}
    asked: list[tuple[Sent, Any]] = [
        (("/m/lookup", {"files": photo}), {"pdq": near}),
        (("/m/lookup?bypass_coinflip=true", {"files": photo}), {"pdq": near}),
        (("/m/lookup?banks=films", {"files": photo}), {"pdq": {}}),
        (("/m/lookup?types=pdq", {"files": photo}), {"pdq": near}),
        (("/m/lookup", {"files": film}), {"video_md5": same}),
        (("/m/lookup", {"files": film, "data": {"note": "x"}}), {"video_md5": same}),
        (("/m/lookup", {"files": {"video": ("a", b"another")}}), {"video_md5": {}}),
    ]
    for (sent, wanted), reply in zip(asked, posted(media, *(s for s, _ in asked)), strict=True):
        assert reply.status_code == 200 and reply.json() == wanted, (sent, reply.text)


def test_files_that_are_not_looked_up(media: Path) -> None:
    photo = ("a.png", picture(True))
    form = {"content-type": "multipart/form-data; boundary=b"}
    asked: list[Sent] = [
        ("/m/lookup", {}),
        ("/m/lookup", {"data": {"note": "x"}}),
        ("/m/lookup", {"content": picture(True), "headers": {"content-type": "image/png"}}),
        ("/m/lookup", {"files": {"file": photo}}),
        ("/m/lookup", {"files": {"photo": photo, "video": photo}}),
        ("/m/lookup", {"files": [("photo", photo), ("photo", photo)]}),
        ("/m/lookup?types=video_md5", {"files": {"photo": photo}}),
        ("/m/lookup?types=,", {"files": {"photo": photo}}),
        ("/m/lookup", {"files": {"photo": ("a.png", picture(False))}}),
        ("/m/lookup", {"files": {"photo": ("a.png", b"no picture")}}),
        ("/m/lookup", {"content": b"", "headers": form}),
        ("/m/lookup", {"content": b"--b", "headers": form}),
        ("/m/lookup", {"content": b"--c\r\n\r\nx\r\n--c--\r\n", "headers": form}),
        ("/m/lookup", {"content": b"x" * 1000, "headers": form}),
        ("/m/lookup", {"content": b"", "headers": {"content-type": "multipart/form-data"}}),
        ("/m/lookup", {"files": {"photo": photo}, "data": {f"n{n}": "x" for n in range(20)}}),
    ]
    for sent, reply in zip(asked, posted(media, *asked), strict=True):
        assert "message" in problem(reply, 400), sent
    (broken,) = posted(media, ("/m/lookup", {"files": {"photo": ("a.png", picture(True)[:200])}}))
    assert "message" in problem(broken, 422)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_forms_are_read_or_refused(data: st.DataObject) -> None:
    body = bytearray(
        b'--b\r\nContent-Disposition: form-data; name="video"; filename="a"\r\n'
        b"Content-Type: video/mp4\r\n\r\na film\r\n--b--\r\n"
    )
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        field, contents = form_file(bytes(body), b"b")
    except Problem as refused:
        assert refused.status == 400
    else:
        assert isinstance(field, str) and len(contents) <= len(body)
