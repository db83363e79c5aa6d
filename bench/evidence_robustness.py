"""What the perceptual hash still recognises after a picture was changed, and what comparing finds.

Still lifes, fractals and grains drawn from seeds, and one real photograph (Matplotlib's sample of
Grace Hopper, a work of the US Navy). A change is recognised within 31 of 256 bits over the eight
forms. The last columns lay a part of the changed pictures over their originals, with a stain laid
on before the change and without: found is the stain alone, alarmed is a region where there is none.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from scenery import crack, stain, still_life

from ledger_client.evidence.collation import lay_pictures
from ledger_client.evidence.decoding import scale
from ledger_client.evidence.pdq import distance, hash_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STILL_LIFES, FRACTALS, GRAINS, LAID = 60, 20, 19, 5
NEAR, STAIN_AT, SIDES = 31, (0.55, 0.5), (640, 480)


def save_anew(quality: int, form: str = "JPEG") -> Callable[[Image.Image], Image.Image]:
    """Give the change that saves and reads again."""

    def change(picture: Image.Image) -> Image.Image:
        out = BytesIO()
        picture.save(out, form, quality=quality)
        return Image.open(out).convert("RGB")

    return change


def resize(part: float) -> Callable[[Image.Image], Image.Image]:
    """Give the change that scales both sides."""
    return lambda one: one.resize((round(one.width * part), round(one.height * part)))


def crop(part: float) -> Callable[[Image.Image], Image.Image]:
    """Give the change that cuts this part of the width and of the height off, at one corner."""
    return lambda one: one.crop(
        (round(one.width * part), round(one.height * part), one.width, one.height)
    )


def turn(degrees: float) -> Callable[[Image.Image], Image.Image]:
    """Give the change that turns within the same frame, with black corners."""
    return lambda one: one.rotate(degrees, Image.Resampling.BICUBIC)


def add_banner(picture: Image.Image) -> Image.Image:
    """Lay a white banner with writing over the lowest tenth."""
    changed = picture.copy()
    draw, top = ImageDraw.Draw(changed), round(picture.height * 0.9)
    draw.rectangle((0, top, picture.width, picture.height), "white")
    draw.text((10, top + 6), "Half price on everything until Sunday", "black")
    return changed


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda one: one,
    "JPEG, quality 90": save_anew(90),
    "JPEG, quality 70": save_anew(70),
    "JPEG, quality 50": save_anew(50),
    "JPEG, quality 30": save_anew(30),
    "JPEG, quality 10": save_anew(10),
    "WebP, quality 50": save_anew(50, "WEBP"),
    "resize to 75 %": resize(0.75),
    "resize to 50 %": resize(0.5),
    "resize to 25 %": resize(0.25),
    "colour × 0.5": lambda one: ImageEnhance.Color(one).enhance(0.5),
    "colour × 1.5": lambda one: ImageEnhance.Color(one).enhance(1.5),
    "grey": lambda one: one.convert("L").convert("RGB"),
    "brightness × 0.7": lambda one: ImageEnhance.Brightness(one).enhance(0.7),
    "brightness × 1.3": lambda one: ImageEnhance.Brightness(one).enhance(1.3),
    "brightness × 1.6": lambda one: ImageEnhance.Brightness(one).enhance(1.6),
    "contrast × 1.3": lambda one: ImageEnhance.Contrast(one).enhance(1.3),
    "banner over a tenth": add_banner,
    "crack painted on": lambda one: crack(one, 1),
    "stain painted on": lambda one: stain(one, (0.3, 0.3)),
    "mirror": ImageOps.mirror,
    "rotate 90°": lambda one: one.transpose(Image.Transpose.ROTATE_90),
    "rotate 180°": lambda one: one.transpose(Image.Transpose.ROTATE_180),
    "mirror, 50 %, JPEG 50": lambda one: save_anew(50)(resize(0.5)(ImageOps.mirror(one))),
    "crop 1 %": crop(0.01),
    "crop 2 %": crop(0.02),
    "crop 5 %": crop(0.05),
    "crop 10 %": crop(0.1),
    "crop 25 %": crop(0.25),
    "rotate 1°": turn(1),
    "rotate 2°": turn(2),
    "rotate 5°": turn(5),
    "rotate 20°": turn(20),
}


def list_pictures() -> Iterator[Image.Image]:
    """Draw a hundred pictures, the real one first."""
    hopper = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(hopper) as photo:
        yield photo.convert("RGB")
    for seed in range(STILL_LIFES):
        yield still_life(seed, SIDES)
    random = np.random.default_rng(1)
    for _ in range(FRACTALS):
        x, y, reach = *random.uniform((-1.5, -1), (0.2, 1)), random.uniform(0.2, 1)
        three = [
            Image.effect_mandelbrot(SIDES, (x - reach, y - reach, x + reach, y + reach), depth)
            for depth in (20, 40, 80)
        ]
        yield Image.merge("RGB", three)
    for _ in range(GRAINS):
        coarse = random.integers(0, 256, (*random.integers(5, 40, 2), 3), np.uint8)
        yield Image.fromarray(coarse).resize(SIDES, Image.Resampling.BICUBIC)


def lay(picture: Image.Image, original: Image.Image) -> tuple[int, bool] | None:
    """Give how many regions depart, and whether the largest lies where the stain was laid."""
    regions = lay_pictures(scale(picture), scale(original))
    if regions is None:
        return None
    if not regions:
        return 0, False
    one, (x, y) = regions[0], (1000 * part for part in STAIN_AT)
    return len(regions), (
        one.left <= x <= one.left + one.width and one.top <= y <= one.top + one.height
    )


def main() -> int:
    """Print the table."""
    pictures = list(list_pictures())
    hashes = [hash_image(scale(one.copy())) for one in pictures]
    kept = [number for number, one in enumerate(hashes) if one.quality >= 50]  # noqa: PLR2004
    print(f"{len(kept)} of {len(pictures)} pictures have a hash of quality 50 or more")
    print(
        f"| {'change':24} | recognised | median bits | most bits | laid over | stain found |"
        " alarmed |"
    )
    print(f"|{'---|' * 7}")
    for name, change in CHANGES.items():
        bits = []
        for number in kept:
            forms = hash_image(scale(change(pictures[number]))).forms
            bits.append(min(distance(form, hashes[number].forms[0]) for form in forms))
        share = sum(one <= NEAR for one in bits) / len(bits)
        clean = [lay(change(pictures[at]), pictures[at]) for at in kept[:LAID]]
        stained = [lay(change(stain(pictures[at], STAIN_AT)), pictures[at]) for at in kept[:LAID]]
        is_damage = "painted" in name
        over = sum(one is not None for one in clean)
        found = sum(one is not None and one[1] for one in stained)
        alarmed = sum(one is not None and one[0] > 0 for one in clean)
        last = "–" if is_damage else f"{alarmed}/{over}"
        print(
            f"| {name:24} | {share:10.0%} | {median(bits):11g} | {max(bits):9} |"
            f" {f'{over}/{LAID}':9} | {f'{found}/{LAID}':11} | {last:7} |",
            flush=True,
        )
    others = [
        min(distance(form, hashes[b].forms[0]) for form in hashes[a].forms)
        for a in kept
        for b in kept
        if a < b
    ]
    print(
        f"other pictures: {len(others)} pairs, at least {min(others)} bits apart, median "
        f"{median(others):g}, {sum(one <= NEAR for one in others)} recognised wrongly"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
