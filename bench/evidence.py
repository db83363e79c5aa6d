"""What an inspection costs beside decoding and scaling the same picture, which nobody can avoid.

Both run in this process, in turn, on real files; what the confined process takes from its start to
its end is told beside them. A file with a manifest is verified by the C2PA library besides.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from media import BARE, add_segment, make_element, make_xmp, photo, save
from PIL import Image
from signed_media import sign

from ledger_client.evidence.decoding import decode
from ledger_client.evidence.examination import examine
from ledger_client.evidence.inspection import inspect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RATIO_MAX, ROUNDS = 1.3, 15


def draw(width: int, height: int) -> Image.Image:
    """Draw a picture with the grain of a camera's."""
    noise = np.random.default_rng(7).normal(0, 6, (height, width, 1))
    pixels = np.asarray(photo(width, height), np.float32) + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def list_pictures() -> Iterator[tuple[str, bytes]]:
    """Give files by name: with labels, without, with a signed manifest."""
    packet = make_xmp(make_element())
    phone = save(draw(4000, 3000), "JPEG", quality=85, xmp=packet)
    phone = add_segment(phone, 0xEB, b"AIGC" + BARE.encode())
    yield "JPEG, 12 Mpixel", phone
    yield "JPEG, 2 Mpixel", save(draw(1600, 1200), "JPEG", quality=85, xmp=packet)
    yield "PNG, 2 Mpixel", save(draw(1600, 1200), "PNG")
    yield "WebP, 2 Mpixel", save(draw(1600, 1200), "WEBP", xmp=packet)
    yield "JPEG, 12 Mpixel, signed", sign(phone, "image/jpeg")


def take(run: Callable[[], object]) -> float:
    """Time one run, in milliseconds."""
    begun = perf_counter()
    run()
    return (perf_counter() - begun) * 1000


def measure(path: Path) -> tuple[float, float, float]:
    """Give milliseconds of decoding, of an inspection in here, and of one in its own process."""

    def examine_here() -> None:
        with path.open("rb") as file:
            examine(file, str(path))

    decode(path)
    examine_here()
    pairs = [(take(lambda: decode(path)), take(examine_here)) for _ in range(ROUNDS)]
    confined = median(take(lambda: inspect(path)) for _ in range(5))
    return median(one for one, _ in pairs), median(one for _, one in pairs), confined


def main() -> int:
    """Print a row for each picture; 1 where the bound is missed."""
    is_missed = False
    print(
        f"{'picture':26}{'MB':>6}{'decode ms':>11}{'inspect ms':>12}{'ratio':>7}{'confined ms':>13}"
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        for name, raw in list_pictures():
            path.write_bytes(raw)
            decoded, examined, confined = measure(path)
            ratio = examined / decoded
            is_missed = is_missed or ratio > RATIO_MAX
            print(
                f"{name:26}{len(raw) / 1e6:6.1f}{decoded:11.1f}{examined:12.1f}{ratio:7.2f}"
                f"{confined:13.1f}"
            )
    print(f"bound: {RATIO_MAX}, {'missed' if is_missed else 'kept'}")
    return 1 if is_missed else 0


if __name__ == "__main__":
    sys.exit(main())
