"""The one way from a file to pixels: bounded, upright, RGB, at most 512 on a side.

Perceptual hashes are compared across members, so everybody's pixels must come the same way. It
knows three formats by their first bytes, whatever the file is called, and refuses by the announced
size before it decodes. It knows nothing of what a picture says about itself.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from ledger_client.errors import Uninspectable

if TYPE_CHECKING:
    from pathlib import Path

IMAGE_BYTES_MAX = 20_000_000
PIXELS_MAX = 50_000_000
SIDE_MAX = 512
_FORMATS = ("JPEG", "PNG", "WEBP")
_DIRECT = {"RGB", "L", "CMYK", "YCbCr"}  # modes that the scaling filter treats as what is seen
_DEEP = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}  # one channel, 16 bits in these formats


def decode(path: Path) -> Image.Image:
    """Decode a JPEG, PNG or WebP file.

    *Shape*: RGB, upright, longest side at most 512. *Raises*: Uninspectable.
    """
    with path.open("rb") as file:
        raw = file.read(IMAGE_BYTES_MAX + 1)
    return decode_bytes(raw)


def decode_bytes(raw: bytes) -> Image.Image:
    """Decode the bytes of a JPEG, PNG or WebP file, as `decode` does."""
    if len(raw) > IMAGE_BYTES_MAX:
        raise Uninspectable("too-large", f"An image has at most {IMAGE_BYTES_MAX} bytes.")
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # a damaged tag is no fault of the pixels
            Image.open(BytesIO(raw), formats=_FORMATS) as image,
        ):
            width, height = image.size
            if width * height <= PIXELS_MAX:
                return scale(image)
    except Image.DecompressionBombError:
        pass
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever a damaged byte leads them to
        raise Uninspectable("broken", "The image can't be decoded.") from error
    raise Uninspectable("too-many-pixels", f"An image has at most {PIXELS_MAX} pixels.")


def scale(image: Image.Image) -> Image.Image:
    """Turn an opened picture upright, make it RGB, and fit it into 512 by 512.

    *Shape*: what is transparent is shown on white, as a reviewer would see it.
    """
    image.draft("RGB", (SIDE_MAX, SIDE_MAX))  # a JPEG is decoded at the nearest larger eighth
    seen = image if image.mode in _DIRECT else _flatten(image)
    seen.thumbnail((SIDE_MAX, SIDE_MAX))
    try:
        upright = ImageOps.exif_transpose(seen)
    except SyntaxError:  # an Exif block that is none turns nothing
        upright = seen
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def _flatten(image: Image.Image) -> Image.Image:
    """Give a picture of another mode as RGB on white."""
    if image.mode in _DEEP:
        return image.point(lambda level: level / 256).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    shown = image.convert("RGBA")
    shown.thumbnail((SIDE_MAX, SIDE_MAX))
    white = Image.new("RGBA", shown.size, "white")
    white.info.update(image.info)
    return Image.alpha_composite(white, shown).convert("RGB")
