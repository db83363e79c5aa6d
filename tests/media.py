"""Real pictures and films for tests, with whatever a test wants to put beside their pixels.

Pictures are drawn and saved by Pillow, films by OpenCV; segments, chunks and boxes are laid out
here by the structure of each format, not by the modules under test.
"""

from __future__ import annotations

import json
import struct
import zlib
from functools import cache
from html import escape
from io import BytesIO
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Mapping

PROVIDER = "001191000000MA0000000X10001"  # an organisation's code of 27 characters, of nobody
LABEL = {
    "Label": "1",
    "ContentProducer": PROVIDER,
    "ProduceID": "picture-0001",
    "ReservedCode1": "",
    "ContentPropagator": "",
    "PropagateID": "",
    "ReservedCode2": "",
}
BARE = json.dumps(LABEL)
WRAPPED = json.dumps({"AIGC": LABEL})
TC260 = "http://www.tc260.org.cn/ns/AIGC/1.0/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@cache
def photo(width: int = 400, height: int = 300, part: float = 0.0) -> Image.Image:
    """Draw a picture with shapes and detail; another part gives another picture."""
    seed = np.random.default_rng(round(part * 100))
    shapes = Image.fromarray(seed.integers(0, 256, (9, 12, 3), np.uint8))
    fractal = Image.effect_mandelbrot((width, height), (-2.0, -1.2, 0.8, 1.2), 40)
    bands = (fractal, ImageOps.mirror(fractal), ImageOps.flip(fractal))
    return Image.blend(shapes.resize((width, height)), Image.merge("RGB", bands), 0.3)


def save(picture: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """Give a picture as a file's bytes."""
    out = BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


@cache
def plain(form: str) -> bytes:
    """Give a picture that declares nothing."""
    return save(photo(), form)


def add_segment(jpeg: bytes, marker: int, payload: bytes) -> bytes:
    """Put a segment right behind the start of a JPEG."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload + jpeg[2:]


def make_chunk(kind: bytes, body: bytes) -> bytes:
    """Lay out a chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def add_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """Put a chunk behind the header of a PNG."""
    return png[:33] + make_chunk(kind, body) + png[33:]


def make_xmp(
    inner: str = "", attributes: str = "", spaces: Mapping[str, str] | None = None
) -> bytes:
    """Write an XMP packet with properties as elements and as attributes."""
    known = {"TC260": TC260, "Iptc4xmpExt": IPTC} if spaces is None else spaces
    declared = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in known.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {declared} {attributes}>{inner}</rdf:Description>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def make_element(text: str = BARE) -> str:
    """Write a label as an element of XMP, in the standard's own way."""
    return f"<TC260:AIGC>{escape(text)}</TC260:AIGC>"


def make_source(code: str) -> bytes:
    """Write a packet with an IPTC digital source type."""
    address = SOURCE_TYPE + code
    return make_xmp(f"<Iptc4xmpExt:DigitalSourceType>{address}</Iptc4xmpExt:DigitalSourceType>")


def add_xmp(packet: bytes, form: str) -> bytes:
    """Give a picture with a packet where its format has it."""
    if form == "PNG":
        return add_chunk(plain("PNG"), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
    return save(photo(), form, xmp=packet)


def make_comment(comment: bytes) -> bytes:
    """Write an Exif block, without its segment's head, whose UserComment has these bytes."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    return exif.tobytes()


def make_box(kind: bytes, *bodies: bytes) -> bytes:
    """Lay out a box of an MP4."""
    body = b"".join(bodies)
    return struct.pack(">I", len(body) + 8) + kind + body


def make_handler(kind: bytes) -> bytes:
    """Lay out the box that says by which rules a `meta` is written."""
    return make_box(b"hdlr", bytes(8), kind, bytes(13))


def make_text(text: str) -> bytes:
    """Lay out a value of iTunes' kind: UTF-8 text."""
    return make_box(b"data", struct.pack(">II", 1, 0), text.encode())


def make_keyed(keyword: str, text: str) -> bytes:
    """Lay out the boxes of a `meta` with one key of QuickTime's kind and its value."""
    key = struct.pack(">I", len(keyword) + 8) + b"mdta" + keyword.encode()
    keys = make_box(b"keys", struct.pack(">II", 0, 1), key)
    return make_handler(b"mdta") + keys + make_box(b"ilst", make_box(b"\0\0\0\1", make_text(text)))


@cache
def film(suffix: str = ".mp4", scenes: int = 3, side: tuple[int, int] = (320, 240)) -> bytes:
    """Encode a film of scenes that differ, 24 frames each, a key frame at least every 12."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/film{suffix}"
        out = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), 12, side)
        for scene in range(scenes):
            frame = np.asarray(photo(*side, part=scene / 2))[:, :, ::-1]
            for shift in range(24):
                out.write(np.ascontiguousarray(np.roll(frame, shift // 8, axis=1)))
        out.release()
        with open(path, "rb") as file:  # noqa: PTH123 - a name that OpenCV took as well
            return file.read()


def add_to_moov(mp4: bytes, box: bytes) -> bytes:
    """Put a box at the end of `moov`, which is the last box of the films made here."""
    at = mp4.rindex(b"moov") - 4
    length = struct.unpack(">I", mp4[at : at + 4])[0]
    assert at + length == len(mp4)
    return mp4[:at] + struct.pack(">I", length + len(box)) + mp4[at + 4 :] + box
