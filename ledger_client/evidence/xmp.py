"""The few properties of an XMP packet that evidence is about.

It reads XML without ever resolving an entity: a packet with a document type is refused unread, and
so is one that is too deep or too large. Every other property passes by unread, GPS among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

XMP_BYTES_MAX = 4_000_000
DEPTH_MAX = 64
_VALUE_MAX, _VALUES_MAX = 65_536, 64
_TC260 = "http://www.tc260.org.cn/ns/AIGC/1.0/"
_AIGC, _STRUCTURED = "AIGC", ("Label", "ContentProducer", "ProduceID")
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMP, _EXIF = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/exif/1.0/"
_RDF = ("http://www.w3.org/1999/02/22-rdf-syntax-ns#", "rdf:")
_TERMS = "http://purl.org/dc/terms/"
_SPACES = {
    "http://iptc.org/std/Iptc4xmpExt/2008-02-19/": _IPTC,  # a date that many writers have
    "TC260": _TC260,
    "C260": _TC260,
    "Iptc4xmpExt": _IPTC,
    "xmp": _XMP,
    "exif": _EXIF,
    "dcterms": _TERMS,
}


class UnsafeXmp(Exception):
    """A packet has what no honest packet has: a document type, or depth and size beyond bounds."""


@dataclass
class XmpProperties:
    """What was found, in the order of the packet."""

    labels: list[str] = field(default_factory=list)
    structured: dict[str, object] = field(default_factory=dict)
    source_types: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    is_provenance_elsewhere: bool = False


def parse_xmp(packet: bytes) -> XmpProperties:
    """Read a packet. *Raises*: UnsafeXmp, and ExpatError where it isn't XML."""
    if len(packet) > XMP_BYTES_MAX:
        raise UnsafeXmp("size")
    try:
        return _read(expat.ParserCreate(namespace_separator=" "), _trim(packet))
    except expat.ExpatError as error:
        if expat.errors.messages[error.code] != expat.errors.XML_ERROR_UNBOUND_PREFIX:
            raise
        return _read(expat.ParserCreate(), _trim(packet))  # some declare C260 and write TC260


def _read(parser: expat.XMLParserType, packet: bytes) -> XmpProperties:
    reader = _Reader()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.read
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.Parse(packet, True)  # noqa: FBT003 - the parser's own signature
    return reader.found


def _trim(packet: bytes) -> bytes:
    """Cut what writers leave around a packet: bytes before its first and after its last bracket."""
    start, end = packet.find(b"<"), packet.rfind(b">")
    is_wide = packet[start + 1 : start + 2] == b"\0" or packet[:1] == b"\0"
    return packet if start < 0 or is_wide else packet[start : end + 1]


class _Reader:
    """Handlers that keep the values of known properties, as attributes and as elements."""

    def __init__(self) -> None:
        self.found = XmpProperties()
        self._path: list[str] = []
        self._texts: list[str] = []
        self._length = 0

    def refuse(self, *_: object) -> None:
        raise UnsafeXmp("document type")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) >= DEPTH_MAX:
            raise UnsafeXmp("depth")
        self._path.append(name)
        self._texts, self._length = [], 0
        for key, value in attributes.items():
            self._keep(key, value)

    def read(self, text: str) -> None:
        self._length += len(text)
        if self._length <= _VALUE_MAX:
            self._texts.append(text)

    def end(self, _: str) -> None:
        text = "".join(self._texts).strip()
        if text:  # of the innermost element that is no list of RDF
            owners = (name for name in reversed(self._path) if not name.startswith(_RDF))
            self._keep(next(owners, ""), text)
        self._path.pop()
        self._texts = []

    def _keep(self, name: str, value: str) -> None:
        space, _, local = name.rpartition(" " if " " in name else ":")
        space, found, value = _SPACES.get(space, space), self.found, value[:_VALUE_MAX]
        if local == _AIGC:  # in whatever namespace: writers misspell theirs
            _add(found.labels, value)
        elif local in _STRUCTURED and space in {_TC260, ""}:
            found.structured.setdefault(local, value)
        elif space == _IPTC and local in {"DigitalSourceType", "DigitalSourcefileType"}:
            _add(found.source_types, value)
        elif (space, local) == (_XMP, "CreatorTool"):
            _add(found.tools, value)
        elif (space, local) == (_EXIF, "UserComment"):
            _add(found.comments, value)
        elif (space, local) == (_TERMS, "provenance"):
            found.is_provenance_elsewhere = True


def _add(values: list[str], value: str) -> None:
    if len(values) < _VALUES_MAX and value not in values:
        values.append(value)
