"""What is said of the state of a sidecar, and of changes that were made."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from hashmatch.vocabulary import Kind, Verdict


class TypeShown(BaseModel):
    """How the signals of a hash type are held."""

    signals: int
    segments: int
    unfolded: int = Field(description="Signals that are in no segment yet.")
    size_bytes: int


class AuditShown(BaseModel):
    """How the log of lookups of the process that answers fares."""

    waiting: int = Field(description="Rows that are not written yet.")
    lost: int = Field(description="Requests that were not noted.")
    trouble: str | None = Field(description="What keeps rows from being written.")


class StatusShown(BaseModel):
    """How a sidecar fares."""

    generation: int
    changed: datetime | None = Field(description="When the generation was made, or a set.")
    age_seconds: float | None = Field(description="How long ago that is.")
    sets: int
    items: int
    types: dict[str, TypeShown] = Field(description="Shown to those who may see all sets.")
    writer: str | None = Field(description="Who has the database open for writing.")
    writer_trouble: str | None = Field(description="What keeps changes from being made.")
    trouble: str | None = Field(
        description="What kept a newer generation from being taken in: the last good one is served."
    )
    workers: int
    read_only: bool
    audit: AuditShown


class EventShown(BaseModel):
    """What a change did to an item of the ref that was asked for, or said of it."""

    action: Literal["added", "updated", "removed", "opinion"]
    contributor: str
    labels: list[str]
    kind: Kind | None
    verdict: Verdict | None
    signal: int | None = Field(description="The first of the item's signals.")


class ChangeShown(BaseModel):
    """A change that was made, and how much it changed."""

    generation: int
    time: datetime
    set: str
    who: str
    added: int
    updated: int
    removed: int
    unchanged: int
    opinions: int
    rejected: int
    events: list[EventShown] = Field(description="Only where a ref was asked for.")


class History(BaseModel):
    """Changes, the newest first, as of a generation."""

    generation: int
    changes: list[ChangeShown]
