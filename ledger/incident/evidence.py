"""How forged evidence is recognised again: by its SHA-256, or by a perceptual hash that is close.

Two PDQ hashes of 256 bits are one picture's where at most 31 bits differ. Of 16 bands of 16 bits
one then differs by at most one bit, or all sixteen would differ by two: an index of bands that is
asked for a band and its 16 neighbours misses nothing. It knows hashes, and nobody's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.incident.taxonomy import EvidenceKind, EvidenceSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.incident.incident import EvidenceItem

DISTANCE_MAX = 31
QUALITY_MIN = 50
FORMS_MAX = 8
_NEAR = 15
_BANDS, _BAND_BITS = 16, 16
_NEIGHBOURS = (0, *(1 << bit for bit in range(_BAND_BITS)))
PROBES = _BANDS * len(_NEIGHBOURS)
ASIDE = _BANDS << _BAND_BITS  # so many places; above them, by members, lies what isn't looked at
_FILED = frozenset({EvidenceKind.CLAIM_PHOTO, EvidenceKind.CLAIM_VIDEO})


@dataclass(frozen=True, slots=True)
class Piece:
    """One forged picture or key frame. `pdq` is None where likeness tells nothing of it."""

    digest: bytes
    pdq: bytes | None
    is_original: bool


@dataclass(frozen=True, slots=True)
class Sought:
    """One file that is asked about: its SHA-256, and the forms of each of its pictures."""

    digest: bytes | None
    pictures: tuple[tuple[bytes, ...], ...]

    @property
    def forms(self) -> tuple[bytes, ...]:
        """All forms of all pictures."""
        return tuple(form for forms in self.pictures for form in forms)


def find_pieces(
    evidence: tuple[EvidenceItem, ...], *, is_original: bool = False
) -> tuple[Piece, ...]:
    """Give the pieces by which evidence is recognised: what the buyer filed with the claim.

    A perceptual hash whose quality is low, or wasn't told, could be any featureless picture's.
    """
    pieces: dict[Piece, None] = {}
    for item in evidence:
        if item.kind not in _FILED or item.source is not EvidenceSource.BUYER:
            continue
        told = [*item.frames, *([(item.pdq, item.quality or 0)] if item.pdq else [])]
        sharp = [pdq for pdq, quality in told if quality >= QUALITY_MIN]
        for pdq in sharp or (None,):
            pieces[Piece(item.digest, pdq, is_original)] = None
    return tuple(pieces)


def list_slots(pdq: bytes) -> list[int]:
    """Give the places of a hash in the index: one a band, the band's number above its bits."""
    return [band << _BAND_BITS | value for band, value in _bands(pdq)]


def probe_slots(pdq: bytes) -> list[int]:
    """Give every place where a hash within the distance has at least one of its own."""
    return [
        band << _BAND_BITS | value ^ flipped
        for band, value in _bands(pdq)
        for flipped in _NEIGHBOURS
    ]


def _bands(pdq: bytes) -> Iterator[tuple[int, int]]:
    return enumerate(int.from_bytes(pdq[2 * n : 2 * n + 2]) for n in range(_BANDS))


def band_distance(distance: int | None) -> str:
    """Give a distance as a band; None is the very file."""
    if distance is None:
        return "same_file"
    return "0-15" if distance <= _NEAR else "16-31"
