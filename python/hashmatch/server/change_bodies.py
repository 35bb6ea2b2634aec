"""What is sent to change a hash set: read, with nothing taken for what it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    TypeAdapter,
    ValidationError,
)

from hashmatch.hash_types import HASH_TYPES
from hashmatch.server.openapi_parts import HEX
from hashmatch.server.problems import Problem
from hashmatch.vocabulary import MAX_QUALITY, MAX_TEXT_BYTES, MAX_TIME_MS, Kind, Verdict

#: In one body, of all kinds together; and changes in a list. They are held until all are checked.
MAX_ROWS = 250_000
MAX_CHANGES = 10_000
#: A row has fewer members, and each takes much more memory than its text does.
_MAX_COMMAS = 10 * MAX_ROWS


class Strict(BaseModel):
    """Members that it does not have are refused, and values of other types."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _known(name: str) -> str:
    if name not in HASH_TYPES:
        raise ValueError(f"unknown hash type: give one of {', '.join(HASH_TYPES)}")
    return name


HashTypeName = Annotated[
    str, AfterValidator(_known), Field(json_schema_extra={"enum": list(HASH_TYPES)})
]
# What rows have to keep to is said, and seen to where they are made: bad ones may be left out.
Ref = Annotated[
    str,
    Field(
        description="What the contributor knows the item by: 1 to 1,024 bytes.",
        json_schema_extra={"minLength": 1, "maxLength": MAX_TEXT_BYTES},
    ),
]
_HEX: dict[str, Any] = {"pattern": HEX["pattern"]}
Contributor = Annotated[str | None, Field(description="Whose it is; without it the set's owner's.")]


class Add(Strict):
    """A hash of an item. Those with one ref are one item's, such as the frames of a video."""

    ref: Ref
    type: HashTypeName
    hash: str = Field(description="Hex digits.", json_schema_extra=_HEX)
    labels: list[str] | None = Field(
        None, description="Without it, the labels that the item has stay."
    )
    contributor: Contributor = None
    kind: Kind = "image"
    quality: int | None = Field(
        None, description="0 to 100.", json_schema_extra={"minimum": 0, "maximum": MAX_QUALITY}
    )
    time_ms: int | None = Field(
        None,
        description="Where in the video, from its beginning.",
        json_schema_extra={"minimum": 0, "maximum": MAX_TIME_MS},
    )


class Removal(Strict):
    """An item to remove, with all its hashes."""

    ref: Ref
    contributor: Contributor = None


class Said(Strict):
    """A contributor's opinion on a ref, in place of an earlier one of theirs."""

    ref: Ref
    contributor: str
    verdict: Verdict
    labels: list[str] = []


def _removal(value: Any) -> Any:
    return {"ref": value} if isinstance(value, str) else value


class SetChange(Strict):
    """A change to a hash set: what is added, then what is removed, then opinions."""

    adds: Annotated[list[Add], Field(max_length=MAX_ROWS), FailFast()] = []
    removals: Annotated[
        list[Annotated[Removal, BeforeValidator(_removal, json_schema_input_type=Ref | Removal)]],
        Field(max_length=MAX_ROWS),
        FailFast(),
    ] = []
    opinions: Annotated[list[Said], Field(max_length=MAX_ROWS), FailFast()] = []
    checkpoint: str | None = Field(
        None, description="How far its source has been followed; kept with the change."
    )
    on_error: Literal["raise", "skip"] = Field(
        "raise", description='"skip" leaves bad rows out, and the answer lists them.'
    )


class Rejected(BaseModel):
    """A row that was left out, or a removal of what is not there."""

    row: int
    field: str
    reason: str


class Changed(BaseModel):
    """What a change did."""

    generation: int
    set: str
    added: int
    updated: int
    removed: int
    #: Items and opinions given as they already were.
    unchanged: int
    opinions: int
    rejected: list[Rejected]


#: Changes that are made in order, as one.
SetChanges = Annotated[list[SetChange], Field(min_length=1)]

_ONE = TypeAdapter(SetChange)
_SEVERAL = TypeAdapter(
    Annotated[list[SetChange], Field(min_length=1, max_length=MAX_CHANGES), FailFast()]
)


def read_changes(body: bytes) -> tuple[Sequence[SetChange], bool]:
    """The changes in a body, and whether it is a list of them. Problem names what is wrong."""
    if body.count(b",") > _MAX_COMMAS:
        raise _too_many()
    several = body.lstrip(b" \t\r\n")[:1] == b"["
    try:
        changes = _SEVERAL.validate_json(body) if several else [_ONE.validate_json(body)]
    except ValidationError as error:
        raise invalid(error) from None
    if sum(len(c.adds) + len(c.removals) + len(c.opinions) for c in changes) > MAX_ROWS:
        raise _too_many()
    return changes, several


def _too_many() -> Problem:
    detail = f"a body has at most {MAX_CHANGES:,} changes of {MAX_ROWS:,} rows in all"
    return Problem(413, f"{detail}: send it in parts")


def invalid(error: ValidationError) -> Problem:
    """The problem that names the first field which is not as it should be."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "too_long":
        return _too_many()
    place = first["loc"]
    said = first["msg"].removeprefix("Value error, ")
    if not place:
        return Problem(400, f"the body: {said}")
    field = ".".join(map(str, place))
    # The row of a list within the change, where that is in a list itself.
    rows = [part for part in place[1:] if isinstance(part, int)]
    return Problem(400, f"{field}: {said}", field=field, row=rows[0] if rows else None)
