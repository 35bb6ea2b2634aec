"""POST /m/lookup: a picture or a video is hashed, and looked up, as HMA does."""

from __future__ import annotations

from typing import Any

import orjson
from python_multipart import FormParser
from python_multipart.exceptions import ParseError
from python_multipart.multipart import parse_options_header

from hashmatch.hashing import FileHashes
from hashmatch.server import hma
from hashmatch.server.files import require_hashed
from hashmatch.server.http import Reply, Request
from hashmatch.server.matching import Handler
from hashmatch.server.media import require_plain
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service

#: The name of the form's field says what the file is. By it, the signal types that HMA makes of one
#: as long as nobody configures anything, and what they are called here.
_MADE = {"photo": {"pdq": "pdq"}, "video": {"video_md5": "md5"}}
#: HMA takes pictures of less for too poor to be matched.
_LEAST_QUALITY = 50
_FORM = "multipart/form-data"
#: Fields beside the file that a form may have.
_MOST_FIELDS = 16


@hma.as_hma
async def lookup(request: Request, service: Service) -> Reply:
    """POST /m/lookup: what a file matches, by signal type and bank."""
    hma.require_read(request)
    require_plain(request)
    boundary = _boundary(request.header(b"content-type") or "")
    body = await request.body()
    kind, contents = await service.beside(form_file, body, boundary)
    del body
    if kind not in _MADE:
        raise Problem(
            400, f"the file's field is {kind!r:.40}: name it {' or '.join(_MADE)}", field="photo"
        )
    made = _asked(_MADE[kind], hma.given(request, "types"))
    hashes = await service.hasher.hash(contents, list(made.values()))
    found = {
        name: await hma.match(request, service, name, _signal(hashes, made[name])) for name in made
    }
    answer = {name: matches.by_set() for name, matches in found.items()}
    (generation,) = {matches.generation for matches in found.values()}
    return Reply(orjson.dumps(answer), generation=generation)


def _boundary(content_type: str) -> bytes:
    name, parameters = parse_options_header(content_type)
    boundary = parameters.get(b"boundary")
    if name.decode("latin-1") != _FORM or not boundary:
        raise Problem(
            400, f"Content-Type is {content_type!r:.80}: send a file as {_FORM}",
            field="Content-Type",
        )  # fmt: skip
    return boundary


def form_file(body: bytes, boundary: bytes) -> tuple[str, bytes]:
    """The name of the field of a form's only file, and what is in it. Problem if there is none."""
    found: list[tuple[str, bytes]] = []
    fields = 0

    def on_file(file: Any) -> None:
        if found:
            raise Problem(400, "the form has more than one file: send one at a time")
        name = file.field_name or b""
        found.append((name.decode("utf-8", "replace"), file.file_object.getvalue()))

    def on_field(field: Any) -> None:
        nonlocal fields
        fields += 1
        if fields > _MOST_FIELDS:
            raise Problem(400, f"the form has more than {_MOST_FIELDS} fields beside the file")

    parser = FormParser(
        _FORM, on_field, on_file, boundary=boundary,
        config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},
    )  # fmt: skip
    try:
        parser.write(body)
        parser.finalize()
    except (ParseError, ValueError) as error:
        raise Problem(400, f"the body is no form: {error}") from None
    if not found:
        raise Problem(
            400, "the form has no file: send one, in a field that is named photo or video"
        )
    return found[0]


def _asked(made: dict[str, str], types: str | None) -> dict[str, str]:
    if types is None:
        return made
    names = [name.strip() for name in types.split(",") if name.strip()]
    if not names:
        raise Problem(400, "types is empty: leave it out", field="types")
    for name in names:
        if name not in made:
            raise Problem(
                400, f"{name!r:.40} is not made of such a file: {', '.join(made)}", field="types"
            )
    return {name: made[name] for name in names}


def _signal(hashes: FileHashes, name: str) -> str:
    """The file's hash of that type, in hex."""
    if name in hashes.digests:
        return hashes.digests[name].hex()
    require_hashed(hashes)
    if hashes.picture is None:
        raise Problem(400, f"the file is no picture, but of the kind {hashes.kind}", field="photo")
    if hashes.picture.quality < _LEAST_QUALITY:
        raise Problem(
            400,
            f"the picture has a quality of {hashes.picture.quality}, below {_LEAST_QUALITY}: too "
            "little is in it to be matched",
            field="photo",
        )
    return hashes.picture.code.tobytes().hex()


#: By method and path.
ROUTES: dict[tuple[str, str], Handler] = {("POST", "/m/lookup"): lookup}
