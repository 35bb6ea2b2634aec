"""A scan's report as one HTML page that needs nothing else: no script, no network, no fonts.

The page shows what a browser shows of text: everything that comes from files or lists is escaped,
and a content security policy forbids whatever might slip through.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from string import Template

from hashmatch.console import count, duration
from hashmatch.scanning.findings import Finding, Match
from hashmatch.scanning.report import shown_name

#: Matches of one file that are shown at once, and those that can be opened; others are counted.
_SHOWN_MATCHES = 3
_MAX_MATCHES = 200
_COLUMNS = ("Distance", "Known as", "Set", "Contributor", "Labels")
#: What a hash type's name stands for.
_TYPES = {
    "pdq": "PDQ",
    "vpdq": "vPDQ",
    "md5": "MD5",
    "sha1": "SHA-1",
    "sha256": "SHA-256",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """A scan as a whole."""

    folder: str
    database: str
    sets: Sequence[str]
    generation: int
    #: Of files: all, those of a kind, and what became of them.
    files: int
    images: int
    videos: int
    matched: int
    unreadable: int
    seconds: float


def page(
    summary: Summary, findings: Sequence[Finding], thumbnails: Mapping[str, bytes]
) -> Iterator[str]:
    """The page, in parts. `findings` are those that matched and those that have a reason;
    `thumbnails` are JPEGs by file.
    """
    template = (files("hashmatch.scanning") / "page.html").read_text("utf-8")
    head, middle, end = template.split("<!-- parts -->\n")
    matched = [finding for finding in findings if finding.matches]
    others = [finding for finding in findings if finding.reason and not finding.matches]
    words = _words(summary, len(others))
    yield Template(head).substitute(words)
    for number, finding in enumerate(matched):
        yield _card(number, finding, thumbnails.get(finding.file))
    if not matched:
        yield '<p class="none">No file matched.</p>\n'
    yield Template(middle).substitute(words)
    for finding in others:
        kind = {"image": "picture", "video": "video", "file": "file"}[finding.hashes.kind]
        yield (
            f'<tr><td class="name">{_text(finding.file)}</td>'
            f"<td>{kind}</td><td>{_text(finding.reason or '')}</td></tr>\n"
        )
    if not others:
        yield '<tr><td colspan="3">None.</td></tr>\n'
    yield Template(end).substitute(words)


def _words(summary: Summary, others: int) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "title": _text(f"Scan of {summary.folder}"),
        "folder": _text(summary.folder),
        "database": _text(summary.database),
        "sets": ", ".join(map(_text, summary.sets)) or "none",
        "generation": f"{summary.generation:,}",
        "time": f"{now:%Y-%m-%d %H:%M} UTC",
        "took": duration(summary.seconds),
        "files": f"{summary.files:,}",
        "images": f"{summary.images:,}",
        "videos": f"{summary.videos:,}",
        "matched": f"{summary.matched:,}",
        "unreadable": f"{summary.unreadable:,}",
        "others": count(others, "file"),
    }


def _text(text: str) -> str:
    return escape(shown_name(text))


def _card(number: int, finding: Finding, thumbnail: bytes | None) -> str:
    name = _text(finding.file)
    matches = finding.matches[:_MAX_MATCHES]
    shown, folded = matches[:_SHOWN_MATCHES], matches[_SHOWN_MATCHES:]
    parts = [_match_table(shown)]
    if folded:
        more = f"<summary>{len(finding.matches) - len(shown):,} more</summary>"
        parts.append(f"<details>{more}{_match_table(folded)}</details>\n")
    if left := len(finding.matches) - len(matches):
        parts.append(f'<p class="note">and {left:,} that are not shown</p>\n')
    if finding.reason:
        parts.append(f'<p class="note">{_text(finding.reason)}</p>\n')
    return (
        f'<article class="card" aria-labelledby="file-{number}">\n'
        f"{_thumbnail(number, name, finding, thumbnail)}"
        f'<div class="about"><h3 class="name" id="file-{number}">{name}</h3>\n'
        f"{''.join(parts)}</div></article>\n"
    )


def _match_table(matches: Sequence[Match]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    rows = "".join(map(_match_row, matches))
    return f'<table class="matches"><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>\n'


def _thumbnail(number: int, name: str, finding: Finding, thumbnail: bytes | None) -> str:
    if thumbnail is None:
        return '<div class="thumb empty">no picture</div>\n'
    what = "a frame of the video" if finding.hashes.kind == "video" else "the picture"
    source = b64encode(thumbnail).decode()
    return (
        f'<label class="thumb" for="show-{number}">'
        f'<input type="checkbox" id="show-{number}" aria-label="Show {what} {name} unblurred">'
        f'<img src="data:image/jpeg;base64,{source}" alt="Thumbnail of {name}">'
        '<span class="cover" aria-hidden="true">Show</span></label>\n'
    )


def _match_row(match: Match) -> str:
    labels = "".join(f'<span class="label">{_text(label)}</span> ' for label in match.labels)
    verdicts = "".join(
        f'<span class="label verdict">{_text(verdict)}</span> ' for verdict in match.verdicts
    )
    distance = f"<strong>{match.distance}</strong> {_TYPES[match.hash_type]}"
    if match.query_percent is not None:
        distance += f'<br><span class="part">{_part(match)}</span>'
    cells = (
        distance,
        _text(match.ref),
        _text(match.set),
        _text(match.contributor) or "-",
        f"{labels}{verdicts}".strip() or "-",
    )
    shown = "".join(
        f'<td data-name="{name}"><div>{cell}</div></td>'
        for name, cell in zip(_COLUMNS, cells, strict=True)
    )
    return f"<tr>{shown}</tr>\n"


def _part(match: Match) -> str:
    """How much of a video matched, how much of the known one, if that is a video, and where."""
    parts = [f"{match.query_percent:.0f} % of this"]
    if any(pair.signal_ms is not None for pair in match.frames):
        parts.append(f"{match.video_percent:.0f} % of the known one")
    times = [pair.time_ms for pair in match.frames if pair.time_ms is not None]
    if times:
        first, last = _clock(min(times)), _clock(max(times))
        parts.append(first if first == last else f"{first} to {last}")
    return ", ".join(parts)


def _clock(time_ms: int) -> str:
    minutes, seconds = divmod(time_ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
