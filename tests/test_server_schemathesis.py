"""The sidecar does what its OpenAPI document says: requests are made up from that, good and bad."""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, CheckFunction, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection

import hashmatch
from hashmatch.hash_types import HASH_TYPES
from hashmatch.server import Settings, create_app
from writers import WriterProcess, writer_of

CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
ARROW = "application/vnd.apache.arrow.stream"
PACKED = "application/octet-stream"
MIN_GENERATION = "Hashmatch-Min-Generation"
IDEMPOTENCY = "Idempotency-Key"
NUMBERS = itertools.count()
#: Requests made of each operation, good ones and as many bad ones.
EXAMPLES = 20
#: Of each of HMA's signal types.
SIGNALS = {kind.name: "0" * kind.digits for kind in HASH_TYPES.values()}
SIGNALS |= {"video_md5": "0" * 32, "vpdq": f'["{CODE},100,0.000"]'}


def arrow_stream(codes: bytes, width: int) -> bytes:
    """An Arrow stream of hashes."""
    hashes = [codes[begin : begin + width] for begin in range(0, len(codes) - width + 1, width)]
    table = pyarrow.table({"hash": pyarrow.array(hashes, pyarrow.binary(width))})
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


for media_type in (ARROW, PACKED):
    schemathesis.openapi.media_type(media_type, st.binary(max_size=200))


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WriterProcess]:
    path = tmp_path_factory.mktemp("served") / "bank"
    with hashmatch.open(path, "c") as database:
        database.create("shared", contributor="forum")
        with database.change("shared") as change:
            change.add("pdq", [CODE], refs=["picture-17"], labels=["flag"])
            change.add("md5", ["0" * 32], refs=["file-1"])
            change.opinion("picture-17", contributor="forum", verdict="positive")
    with writer_of(path) as writer:
        yield writer


@pytest.fixture
def operations(writer: WriterProcess) -> list[Any]:
    """Those of the document, whose requests go to an application of this test's."""
    app = create_app(Settings(path=writer.path, writer_socket=writer.socket))
    config = SchemathesisConfig.from_dict({"seed": 1, "generation": {"allow-x00": False}})
    document = closed(copy.deepcopy(app.typed.openapi()))
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = app
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(found) == sum(map(len, document["paths"].values()))
    return found


def closed(part: Any) -> Any:
    """The same, where no object has other members than those it is said to have."""
    if isinstance(part, dict):
        if isinstance(part.get("properties"), dict) and part.get("type") == "object":
            part.setdefault("additionalProperties", False)
        for each in part.values():
            closed(each)
    elif isinstance(part, list):
        for each in part:
            closed(each)
    return part


def test_good_requests_are_answered_as_the_document_says(operations: list[Any]) -> None:
    for operation in operations:
        cases = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        # A body that was made to fit is not the one whose goodness was noted.
        requests(cases, negative_data_rejection)


def test_bad_requests_are_refused_as_the_document_says(operations: list[Any]) -> None:
    for operation in operations:
        # Of what only has a name in its path nothing is bad.
        if operation.body or operation.query or operation.headers:
            requests(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))


def requests(cases: Any, *excluded: CheckFunction) -> None:
    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None,
        phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases)
    def check(case: Case[Any]) -> None:
        fit(case)
        case.call_and_validate(excluded_checks=list(excluded))

    check()


def fit(case: Case[Any]) -> None:
    """Have a request keep to what a schema cannot say: that a hash is as long as those of its type,
    which generations there are, and what is given but once.
    """
    if str(case.headers.get(MIN_GENERATION, "")).removesuffix(".0").isdigit():
        case.headers[MIN_GENERATION] = "1"
    negative = case.meta is not None and case.meta.generation.mode == GenerationMode.NEGATIVE
    body = case.body
    if isinstance(body, dict) and negative and body.get("on_error") == "skip":
        # It leaves bad rows out.
        case.body = {**body, "on_error": "raise"}
    if negative:
        return
    if IDEMPOTENCY in case.headers:
        case.headers[IDEMPOTENCY] = f"{next(NUMBERS)}"
    if "set" in case.path_parameters and case.method != "PUT":
        case.path_parameters["set"] = "shared"
    if "signal" in case.query:
        case.query["signal"] = SIGNALS[case.query["signal_type"]]
    if case.query.get("sets"):
        case.query["sets"] = ["shared"]
    members: Any = body if isinstance(body, dict) else {}
    kind: Any = members.get("type") or case.query.get("type", "pdq")
    if isinstance(case.query.get("max_distance"), int):
        case.query["max_distance"] = min(case.query["max_distance"], HASH_TYPES[kind].bits)
    if isinstance(body, dict | list):
        # What stands in the body stands nowhere else.
        case.query = {name: value for name, value in case.query.items() if name not in body}
        case.body = fitting(body, case.query)
    elif isinstance(body, bytes):
        width = HASH_TYPES[kind].width
        if case.media_type == ARROW:
            case.body = arrow_stream(body, width)
        elif case.path.endswith("/match"):
            case.body = body[: len(body) // width * width]
        else:
            case.body = body or b"a file"


def fitting(part: Any, given: Mapping[str, Any]) -> Any:
    """A part of a JSON body, so that it fits."""
    if isinstance(part, float) and part.is_integer():
        # A schema takes it for a whole number.
        return int(part)
    if isinstance(part, list):
        return [fitting(each, given) for each in part]
    if not isinstance(part, dict):
        return part
    kind = part.get("type") or given.get("type", "pdq")
    fitted = {name: fitting(each, given) for name, each in part.items()}
    for name in {"hash", "hashes"} & fitted.keys():
        digits = HASH_TYPES[kind].digits
        one = isinstance(part[name], str)
        hashes = [(each * 4)[:digits] for each in ([part[name]] if one else part[name])]
        fitted[name] = hashes[0] if one else hashes
    if "adds" in fitted:
        # One ref is one item, of one kind.
        fitted["adds"] = [{**each, "kind": "image"} for each in fitted["adds"]]
    if "videos" in fitted:
        fitted["videos"] = [
            SIGNALS["vpdq"] if isinstance(each, str) else each for each in fitted["videos"]
        ]
    if fitted.get("sets"):
        fitted["sets"] = ["shared"]
    if isinstance(fitted.get("max_distance"), int):
        fitted["max_distance"] = min(fitted["max_distance"], HASH_TYPES[kind].bits)
    return fitted
