"""A reader of segment files by cpp/index/FORMAT.md alone: it shares no code with the engine."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEADER = struct.Struct("<8sIIQQIi16sQQQBBBBIIIQ")
BANDS, SECTIONS, ORDER = 104, 232, 3560
ENTRY = struct.Struct("<IIQQII")
KINDS = {
    "codes": 1,
    "starts": 2,
    "ids": 3,
    "by id": 4,
    "buckets": 5,
    "sketches": 6,
    "postings": 7,
    "centres": 8,
    "clumps": 9,
}


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _crc_table()


def crc32c(contents: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in contents:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@dataclass
class Section:
    kind: int
    band: int
    offset: int
    size: int
    crc: int
    reserved: int


class SegmentFile:
    """The header's fields by their names in FORMAT.md, and the sections' bytes."""

    def __init__(self, contents: bytes) -> None:
        self.contents = contents
        (
            self.magic,
            self.version,
            self.header_crc,
            self.file_bytes,
            self.file_id,
            self.bits,
            self.max_distance,
            hash_type,
            self.entries,
            self.distinct,
            self.id_base,
            self.id_bytes,
            self.entry_bytes,
            self.position_bytes,
            self.sketch_bits,
            self.band_count,
            self.section_count,
            self.clump_count,
            self.banded,
        ) = HEADER.unpack_from(contents)
        self.hash_type = hash_type.split(b"\0")[0].decode()
        self.bands: list[tuple[int, int]] = [
            struct.unpack_from("<HH", contents, BANDS + 4 * band) for band in range(self.band_count)
        ]
        self.sections = [
            Section(*ENTRY.unpack_from(contents, SECTIONS + 32 * number))
            for number in range(self.section_count)
        ]

    @property
    def order(self) -> NDArray[np.intp]:
        """Which bit of a code as given each bit of a code in the file is."""
        order = np.frombuffer(self.contents, np.uint8, self.bits, ORDER).astype(np.intp)
        return order if order.any() else np.arange(self.bits)

    def given_codes(self) -> NDArray[np.uint8]:
        """The codes with their bits as they were given."""
        stored = np.unpackbits(self.codes(), axis=1, bitorder="little")
        given = np.empty_like(stored)
        given[:, self.order] = stored
        return np.packbits(given, axis=1, bitorder="little")

    def section(self, kind: str, band: int = 0) -> bytes | None:
        for section in self.sections:
            if (section.kind, section.band) == (KINDS[kind], band):
                return self.contents[section.offset : section.offset + section.size]
        return None

    def packed(self, kind: str, width: int, band: int = 0) -> NDArray[np.uint64] | None:
        contents = self.section(kind, band)
        if contents is None:
            return None
        wide = np.zeros((len(contents) // width, 8), np.uint8)
        wide[:, :width] = np.frombuffer(contents, np.uint8).reshape(-1, width)
        return wide.view("<u8")[:, 0].astype(np.uint64)

    def codes(self, kind: str = "codes") -> NDArray[np.uint8]:
        """uint8[rows, bits / 8]."""
        contents = self.section(kind)
        assert contents is not None
        words = {64: 1, 128: 2, 160: 4, 256: 4}[self.bits]
        rows = np.frombuffer(contents, np.uint8).reshape(-1, 8 * words)
        assert not rows[:, self.bits // 8 :].any()
        return rows[:, : self.bits // 8]

    def ids(self) -> Iterator[tuple[int, int]]:
        """(row, id) of every entry."""
        ids = self.packed("ids", self.id_bytes)
        starts = self.packed("starts", self.entry_bytes)
        assert ids is not None
        bounds = range(self.distinct + 1) if starts is None else starts.tolist()
        for row in range(self.distinct):
            for entry in range(bounds[row], bounds[row + 1]):
                yield row, self.id_base + int(ids[entry])


def resealed(contents: bytes) -> bytes:
    """The same with the header's checksum made right."""
    changed = bytearray(contents)
    changed[12:16] = bytes(4)
    changed[12:16] = crc32c(bytes(changed[:4096])).to_bytes(4, "little")
    return bytes(changed)
