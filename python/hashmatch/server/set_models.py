"""What is sent to make a set, and what is said of sets, of the state and of changes made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from hashmatch.database import SetRecord
from hashmatch.hash_types import HASH_TYPES
from hashmatch.server.change_bodies import HashTypeName, Strict, invalid

Bits = Annotated[int, Field(ge=0, le=256)]


class NewSet(Strict):
    """A set to be made."""

    contributor: str = Field("", description="The owner: who contributes where nobody is named.")
    max_distance: dict[HashTypeName, Bits] = Field(
        {},
        description="Bits that a match of a hash type may differ by, inclusive.",
        json_schema_extra={
            "properties": {
                kind.name: {"type": "integer", "minimum": 0, "maximum": kind.bits}
                for kind in HASH_TYPES.values()
            },
            "additionalProperties": False,
        },
    )

    @field_validator("max_distance")
    @classmethod
    def _within_each_type(cls, given: dict[str, int]) -> dict[str, int]:
        for name, bits in given.items():
            if bits > HASH_TYPES[name].bits:
                raise ValueError(f"that of {name} is at most {HASH_TYPES[name].bits}")
        return given


def read_new_set(body: bytes) -> NewSet:
    """Problem names what is wrong."""
    try:
        return NewSet.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from None


class SetFacts(BaseModel):
    """A set."""

    name: str
    contributor: str
    items: int
    signals: int
    types: list[str] = Field(description="Of the hashes that it has, or once had.")
    max_distance: dict[str, int]
    checkpoint: str
    created: datetime
    changed: datetime


class SetShown(SetFacts):
    """A set, as of a generation."""

    generation: int


class SetList(BaseModel):
    """The sets, as of a generation."""

    generation: int
    sets: list[SetFacts]


def facts(record: SetRecord) -> dict[str, Any]:
    """The members of `SetFacts`."""
    return {
        "name": record.name,
        "contributor": record.contributor,
        "items": record.items,
        "signals": record.signals,
        "types": list(record.hash_types),
        "max_distance": dict(record.max_distance),
        "checkpoint": record.checkpoint,
        "created": record.created,
        "changed": record.changed,
    }
