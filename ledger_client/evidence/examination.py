"""From an open file to an inspection, in the process that it is called in and without any limit.

Only the confined child calls it on a file that somebody else made. It puts the parts together:
digest, pixels, and each kind of label by the module that knows it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers.expat import ExpatError

from ledger_client.errors import Uninspectable
from ledger_client.evidence import aigc, vocabulary
from ledger_client.evidence.attributes import (
    C2paState,
    Evidence,
    Inspection,
    PerceptualHash,
    Place,
    SoftwareClass,
)
from ledger_client.evidence.box import find_video_embedded, find_video_mime
from ledger_client.evidence.container import PNG, Embedded, find_embedded, find_mime
from ledger_client.evidence.decoding import IMAGE_BYTES_MAX, decode_bytes
from ledger_client.evidence.exif import UnreadableExif, parse_exif
from ledger_client.evidence.pdq import distance, hash_image
from ledger_client.evidence.xmp import UnsafeXmp, parse_xmp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader

    from PIL.Image import Image

VIDEO_BYTES_MAX = 200_000_000
KEPT_FRAMES_MAX, SAME_FRAME_MAX, LABELS_MAX = 16, 31, 16
_HEAD_BYTES = 32


@dataclass
class _Findings:
    """What the parts of a file declare, in the order of reading."""

    labels: list[aigc.Found] = field(default_factory=list)
    source_types: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    has_make: bool = False
    has_generator_text: bool = False
    is_provenance_elsewhere: bool = False

    def read_label(self, text: str, place: Place) -> None:
        """Take the label that a text holds, if any."""
        if aigc.is_candidate(text) or place is Place.XMP:
            found = aigc.parse_label(text, place)
            if found:
                self.labels.append(found)
            else:
                self.unreadable.add(f"aigc_{place}")


def examine(file: BufferedReader, name: str) -> Inspection:
    """Inspect a file from its beginning. *Shape*: the name is a path to the same bytes.

    *Raises*: Uninspectable, MemoryError.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    length = file.seek(0, 2)
    file.seek(0)
    mime = find_mime(head)
    if mime:
        if length > IMAGE_BYTES_MAX:
            raise Uninspectable("too-large", f"An image has at most {IMAGE_BYTES_MAX} bytes.")
        raw = file.read()
        embedded = find_embedded(raw, mime)
        pictures: Iterable[Image] = (decode_bytes(raw),)
        digest = hashlib.sha256(raw).digest()
    else:
        mime = find_video_mime(head)
        if mime is None:
            raise Uninspectable("not-supported", "The file is no JPEG, PNG, WebP, MP4 or MOV.")
        if length > VIDEO_BYTES_MAX:
            raise Uninspectable("too-large", f"A video has at most {VIDEO_BYTES_MAX} bytes.")
        digest = hashlib.file_digest(file, "sha256").digest()
        embedded = find_video_embedded(file)
        pictures = _list_frames(name)
    perceptual = tuple(_hash_distinct(pictures))
    return _conclude(digest, mime, perceptual, embedded, file)


def _list_frames(name: str) -> Iterator[Image]:
    from ledger_client.evidence.video import list_key_frames  # noqa: PLC0415 - slow to import

    return list_key_frames(name)


def _hash_distinct(pictures: Iterable[Image]) -> Iterator[PerceptualHash]:
    """Hash pictures, leaving out each that looks like the one that was hashed last."""
    last, kept = None, 0
    for picture in pictures:
        hashed = hash_image(picture)
        if last is not None and distance(last, hashed.forms[0]) <= SAME_FRAME_MAX:
            continue
        last, kept = hashed.forms[0], kept + 1
        yield hashed
        if kept == KEPT_FRAMES_MAX:
            return


def _conclude(
    digest: bytes,
    mime: str,
    perceptual: tuple[PerceptualHash, ...],
    embedded: Embedded,
    file: BufferedReader,
) -> Inspection:
    found = _Findings()
    _read_texts(embedded, found, Place.PNG_TEXT if mime == PNG else Place.MP4)
    _read_exif(embedded, found)
    _read_xmp(embedded, found)
    state, c2pa_sources = _read_c2pa(embedded, found, file, mime)
    labels = tuple(dict.fromkeys(label for label, _ in found.labels))[:LABELS_MAX]
    source = _name_strongest(found.source_types)
    c2pa_source = _name_strongest(c2pa_sources)
    software = vocabulary.classify_software(
        found.programs, has_make=found.has_make, has_generator_text=found.has_generator_text
    )
    declared = (
        any(map(aigc.declares_ai, labels))
        or any(map(vocabulary.is_ai_source_type, (source, c2pa_source)))
        or software is SoftwareClass.AI_GENERATOR
    )
    evidence = Evidence(
        sha256=digest,
        mime=mime,
        perceptual=perceptual,
        ai_declared=declared,
        aigc=labels,
        digital_source_type=source,
        c2pa=state,
        c2pa_source_type=c2pa_source,
        software=software,
        unreadable=tuple(sorted(found.unreadable)),
    )
    kept = dict.fromkeys(record for _, record in found.labels if record.is_telling)
    return Inspection(evidence, tuple(kept)[:LABELS_MAX])


def _read_texts(embedded: Embedded, found: _Findings, place: Place) -> None:
    for keyword, text in embedded.texts:
        if aigc.is_candidate(keyword) or aigc.is_candidate(text):
            found.read_label(f"AIGC {text}", place)
        elif vocabulary.is_program_key(keyword):
            found.programs.append(text)
        elif place is Place.PNG_TEXT and vocabulary.is_generator_text(keyword, text):
            found.has_generator_text = True
    for segment in embedded.segments:
        found.read_label(segment.decode("utf-8", "replace"), Place.SEGMENT)


def _read_exif(embedded: Embedded, found: _Findings) -> None:
    for block in embedded.exif:
        try:
            tags = parse_exif(block)
        except UnreadableExif:
            found.unreadable.add("exif")
            continue
        found.has_make = found.has_make or tags.has_make
        found.programs.append(tags.software)
        for comment in tags.comments:
            found.read_label(comment, Place.EXIF)
        if tags.xmp:
            embedded.xmp.append(tags.xmp)


def _read_xmp(embedded: Embedded, found: _Findings) -> None:
    for packet in embedded.xmp:
        try:
            properties = parse_xmp(packet)
        except (UnsafeXmp, ExpatError, ValueError):
            found.unreadable.add("xmp")
            continue
        for text in properties.labels:
            found.read_label(text, Place.XMP)
        if properties.structured:
            found.labels.append(aigc.judge_fields(properties.structured, Place.XMP))
        for comment in properties.comments:
            found.read_label(comment, Place.EXIF)
        found.source_types += properties.source_types
        found.programs += properties.tools
        if properties.is_provenance_elsewhere:
            found.is_provenance_elsewhere = True


def _read_c2pa(
    embedded: Embedded, found: _Findings, file: BufferedReader, mime: str
) -> tuple[C2paState, tuple[str, ...]]:
    """Read the manifest. The library is imported for the few files that have one."""
    if not embedded.has_c2pa:
        return C2paState.REMOTE if found.is_provenance_elsewhere else C2paState.ABSENT, ()
    from ledger_client.evidence.provenance import read_provenance  # noqa: PLC0415

    provenance = read_provenance(file, mime)
    found.programs += provenance.programs
    return provenance.state, provenance.source_types


def _name_strongest(texts: Iterable[str]) -> str | None:
    """Give the source type that declares most: made by a model, another listed one, any."""
    names = [name for text in texts if (name := vocabulary.name_source_type(text))]
    return min(names, key=_rank_source_type, default=None)


def _rank_source_type(name: str) -> tuple[bool, bool]:
    return not vocabulary.is_ai_source_type(name), name == vocabulary.OTHER
