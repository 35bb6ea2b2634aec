"""NCMEC's hash sharing, version 2: what its interface replies on `entries` (XML).

    <queryResult xmlns="https://hashsharing.ncmec.org/hashsharing/v2">
      <images count="2" maxTimestamp="2017-10-24T15:10:00Z">
        <image>
          <member id="42">Example Member</member>
          <timestamp>2017-10-24T15:00:00Z</timestamp>
          <id>image1</id>
          <classification>A1</classification>
          <fingerprints><md5>...</md5><sha1>...</sha1><pdna>...</pdna></fingerprints>
        </image>
        <deletedImage><member id="43">Another</member><id>image4</id>...</deletedImage>
      </images>
      <videos>...</videos>
    </queryResult>

The ref is "<member id>-<id>", as ids are a member's own, and the contributor the member's name, or
its id where no name is given. The classification is a label; the timestamp and PhotoDNA (pdna) are
carried along. Other fingerprints cannot be matched.

There is no document type, hence are no entities: what has one is refused. Text, depth and the size
of a tag are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from xml.parsers import expat

from hashmatch.formats.fields import FieldError, clipped, take_code, take_text
from hashmatch.formats.gathering import Gathering, Hash
from hashmatch.formats.model import ListError, Part, Source
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import Kind

_NAMESPACE = "https://hashsharing.ncmec.org/hashsharing/v2"
_ITEMS: dict[str, tuple[Kind, bool]] = {
    "image": ("image", False),
    "video": ("video", False),
    "deletedImage": ("image", True),
    "deletedVideo": ("video", True),
}
#: Fingerprints that can be matched.
_TYPES = {name: HASH_TYPES[name] for name in ("md5", "sha1", "sha256", "pdq")}
#: Elements of an item whose text counts.
_TEXTS = ("member", "timestamp", "id", "classification")

_CHUNK_BYTES = 64 << 10
_MAX_DEPTH = 32
#: Bytes of a tag, and of the text of an item.
_MAX_TAG_BYTES = 1 << 20
_MAX_TEXT = 4 << 20
_MAX_NAMES = 1_000

_HEAD = re.compile(
    rb"""\s*+(?:<\?xml[^>]*\?>)?(?>\s|<!--(?>.*?-->))*+<(?:[\w.-]+:)?queryResult[\s>][^>]*?"""
    rb"""["']""" + re.escape(_NAMESPACE.encode()) + rb"""["']""",
    re.DOTALL,
)


@dataclass(slots=True)
class _Item:
    """An image or video as its elements say."""

    kind: Kind
    deleted: bool
    line: int
    member: str = ""
    #: Of `_TEXTS`.
    texts: dict[str, str] = field(default_factory=dict)
    #: Name and text, in order.
    fingerprints: list[tuple[str, str]] = field(default_factory=list)


class _Parser:
    """Items out of a document that is fed bit by bit."""

    def __init__(self, source: Source) -> None:
        self._name = source.name
        #: Items that have ended.
        self.items: list[_Item] = []
        self._item: _Item | None = None
        #: The names of the elements that have begun.
        self._path: list[str] = []
        #: How many that were when the item began.
        self._item_depth = 0
        self._text: list[str] = []
        self._text_size = 0
        #: The names of elements and attributes met, without their namespace; expat keeps them too.
        self._names: dict[str, str] = {}
        self._fed = 0
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        self._parser = parser

    def feed(self, chunk: bytes) -> None:
        """Parse a chunk; an empty one is the last. ListError if it is not well-formed."""
        try:
            self._parser.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise ListError(f"{self._name}:{error.lineno}: is not well-formed: {reason}") from None
        except ListError:
            raise
        except (ValueError, LookupError) as error:
            raise self._error(f"is in an encoding that cannot be read: {error}") from None
        self._fed += len(chunk)
        if self._fed - self._parser.CurrentByteIndex > _MAX_TAG_BYTES + _CHUNK_BYTES:
            raise self._error(f"has a tag of more than {_MAX_TAG_BYTES:,} bytes")

    def close(self) -> None:
        """Let go of the parser, which would else stay until the garbage is collected."""
        del self._parser

    def _error(self, reason: str) -> ListError:
        return ListError(f"{self._name}:{self._parser.CurrentLineNumber}: {reason}")

    def _refuse(self, *_: object) -> None:
        raise self._error("has a document type or entities, which hash sharing has not")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        local = self._names.get(name) or self._noted(name)
        path = self._path
        if not path:
            self._require_namespace(name)
        path.append(local)
        if len(path) > _MAX_DEPTH:
            raise self._error(f"has elements nested more than {_MAX_DEPTH} deep")
        for attribute in attributes:
            if attribute not in self._names:
                self._noted(attribute)
        item = self._item
        if item is None:
            if local in _ITEMS and len(path) in (2, 3):
                self._item = _Item(*_ITEMS[local], self._parser.CurrentLineNumber)
                self._item_depth = len(path)
        elif local == "member" and len(path) == self._item_depth + 1:
            item.member = attributes.get("id", "")
        self._text.clear()

    def _require_namespace(self, name: str) -> None:
        namespace = name.rpartition(" ")[0]
        if namespace not in ("", _NAMESPACE):
            raise self._error(f"is XML of {clipped(namespace)}, not of {_NAMESPACE!r}")

    def _noted(self, name: str) -> str:
        """The name without its namespace."""
        local = self._names[name] = name.rpartition(" ")[2]
        if len(self._names) > _MAX_NAMES:
            raise self._error(f"has more than {_MAX_NAMES:,} names of elements and attributes")
        return local

    def _characters(self, text: str) -> None:
        if self._item is not None:
            self._text.append(text)
            self._text_size += len(text)
            if self._text_size > _MAX_TEXT:
                raise self._error(f"has an item of more than {_MAX_TEXT:,} characters")

    def _end(self, name: str) -> None:
        local = self._path.pop()
        item = self._item
        if item is None:
            return
        depth = len(self._path) - self._item_depth
        if depth < 0:
            self.items.append(item)
            self._item = None
            self._text_size = 0
        elif depth == 0 and local in _TEXTS:
            item.texts[local] = "".join(self._text).strip()
        elif depth == 1 and self._path[-1] == "fingerprints":
            item.fingerprints.append((local, "".join(self._text).strip()))
        self._text.clear()


class NcmecXml:
    """The format."""

    name = "ncmec-xml"
    about = "NCMEC's hash sharing, version 2 (XML)"

    def recognises(self, head: bytes) -> bool:
        return bool(_HEAD.match(head))

    def read(self, source: Source) -> Iterator[Part]:
        gathering = Gathering(source)
        with closing(_Parser(source)) as parser:
            row = 0
            more = True
            while more:
                chunk = source.file.read(_CHUNK_BYTES)
                parser.feed(chunk)
                for item in parser.items:
                    try:
                        _take(source, gathering, item, row)
                    except FieldError as error:
                        source.fault(item.line, str(error))
                    row += 1
                parser.items.clear()
                if gathering.ready:
                    yield from gathering.take()
                more = bool(chunk)
        yield from gathering.rest()


def _take(source: Source, gathering: Gathering, item: _Item, row: int) -> None:
    if not (item.member.isascii() and item.member.isdecimal()):
        raise FieldError("", f"the id of the member is {clipped(item.member)}, not a number")
    id_ = take_text(item.texts.get("id", ""), "id")
    ref = take_text(f"{item.member}-{id_}", "ref")
    contributor = take_text(item.texts.get("member") or item.member, "member")
    if item.deleted:
        gathering.remove(row, ref, contributor)
        return
    columns = {
        "timestamp": item.texts.get("timestamp", ""),
        "pdna": " ".join(text for name, text in item.fingerprints if name == "pdna"),
    }
    hashes = []
    known = False
    for name, text in item.fingerprints:
        kind = _TYPES.get(name.lower())
        if kind is None or not text:
            continue
        known = True
        try:
            code = take_code(text, name, kind)
        except FieldError as error:
            source.fault(item.line, str(error))
        else:
            hashes.append(Hash(row, kind.name, code, None, None, columns))
    if not known:
        others = ", ".join(dict.fromkeys(name for name, text in item.fingerprints if text))
        raise FieldError("", f"has no hash that can be matched: it has {others or 'none'}")
    if hashes:
        classification = item.texts.get("classification")
        labels = (classification,) if classification else ()
        gathering.item(ref, hashes, contributor=contributor, kind=item.kind, labels=labels)


FORMAT = NcmecXml()
