"""What an inspection finds: attributes that may be reported, and apart from them what may not.

`Evidence` is all that is ever sent anywhere. Its texts come from closed lists, but for the raw
value of a label. Places, serial numbers, times and the names of people have no field here, so that
none can slip in. `ProviderRecord` stays with the platform, for its own complaint to the provider.
It knows no file format and imports nothing of the extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where in a file an AIGC label stood."""

    XMP = "xmp"
    PNG_TEXT = "png_text"
    EXIF = "exif_user_comment"
    SEGMENT = "app_segment"
    MP4 = "mp4_metadata"


# The kinds of metadata that an inspection may tell as there and unreadable.
UNREADABLE = {"exif", "xmp", *(f"aigc_{place.value}" for place in Place)}


class Declaration(StrEnum):
    """What an AIGC label says, by the words of GB 45438-2025."""

    GENERATED = "generated"
    POSSIBLE = "possible"
    SUSPECTED = "suspected"
    OTHER = "other"


class ProducerClass(StrEnum):
    """What kind of provider an AIGC label names; never which one."""

    ORGANISATION = "organisation"
    PERSON = "person"
    UNCODED = "uncoded"
    NONE = "none"


class C2paState(StrEnum):
    """How a file's C2PA manifest stands. Nobody here judges who signed it."""

    ABSENT = "absent"
    INTACT = "intact"
    TAMPERED = "tampered"
    INVALID = "invalid"
    REMOTE = "remote"
    UNREADABLE = "unreadable"


class SoftwareClass(StrEnum):
    """What kind of program says that it wrote the file."""

    AI_GENERATOR = "ai_generator"
    EDITOR = "editor"
    CAMERA = "camera"
    ENCODER = "encoder"
    OTHER = "other"
    NONE = "none"


@dataclass(frozen=True)
class AigcLabel:
    """One label of GB 45438-2025. `raw` is its Label as written, at most 16 characters."""

    place: Place
    declaration: Declaration
    raw: str
    producer_class: ProducerClass
    is_well_formed: bool


@dataclass(frozen=True)
class PerceptualHash:
    """The PDQ of a picture or a key frame as it is, and as it would be turned and mirrored.

    *Shape*: eight hashes of 32 bytes: as it is; turned by 90°, 180°, 270°; mirrored top to bottom,
    left to right, along either diagonal. *Units*: quality 0 to 100, of which below 50 is too
    featureless to tell anything.
    """

    forms: tuple[bytes, ...]
    quality: int


@dataclass(frozen=True)
class Evidence:
    """What a file declares of itself and how to recognise it again: everything that is reported.

    *Shape*: one of `perceptual` for an image, one for each distinct key frame of a video;
    `unreadable` names the kinds of metadata that are there and can't be read.
    """

    sha256: bytes
    mime: str
    perceptual: tuple[PerceptualHash, ...]
    ai_declared: bool
    aigc: tuple[AigcLabel, ...]
    digital_source_type: str | None
    c2pa: C2paState
    c2pa_source_type: str | None
    software: SoftwareClass
    unreadable: tuple[str, ...]


def render_evidence(evidence: Evidence) -> dict[str, object]:
    """Render what is reported as JSON. *Shape*: hashes in hexadecimal."""
    return {
        "sha256": evidence.sha256.hex(),
        "mime": evidence.mime,
        "pdq": [
            {"forms": [form.hex() for form in one.forms], "quality": one.quality}
            for one in evidence.perceptual
        ],
        "ai_declared": evidence.ai_declared,
        "aigc": [
            {
                "place": one.place.value,
                "declaration": one.declaration.value,
                "raw": one.raw,
                "producer_class": one.producer_class.value,
                "well_formed": one.is_well_formed,
            }
            for one in evidence.aigc
        ],
        "digital_source_type": evidence.digital_source_type,
        "c2pa": {"state": evidence.c2pa.value, "digital_source_type": evidence.c2pa_source_type},
        "software": evidence.software.value,
        "unreadable": list(evidence.unreadable),
    }


@dataclass(frozen=True)
class ProviderRecord:
    """What an AIGC label says of its provider. Kept by the platform, never reported."""

    content_producer: str
    produce_id: str

    @property
    def is_telling(self) -> bool:
        """Tell whether there is anything to keep."""
        return bool(self.content_producer or self.produce_id)


@dataclass(frozen=True)
class Inspection:
    """An inspected file: what may be reported, and what stays with the platform."""

    evidence: Evidence
    kept: tuple[ProviderRecord, ...]
