"""Pictures drawn from a seed: things on a table in daylight, no two seeds alike.

They stand in for a shop's photo and a buyer's: grain at every scale, soft light, round things with
edges and speckles. Numbers alone make them, so that anybody measures on the very same pictures.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

Size = tuple[int, int]


@cache
def still_life(seed: int, size: Size = (640, 480), without: int | None = None) -> Image.Image:
    """Draw a table with things on it; `without` takes one of them away."""
    random = np.random.default_rng(seed)
    width, height = size
    grain = _draw_clouds(random, size, 1.1)
    tint = random.uniform(60, 190, 3)
    left, right = random.uniform(0.6, 1.3, 2)
    ramp = np.linspace(left, right, width)[None, :, None]
    table = np.clip((tint + 28 * grain[..., None]) * ramp, 0, 255)
    picture = Image.fromarray(table.astype(np.uint8))
    for number in range(int(random.integers(4, 9))):
        radius = float(random.uniform(0.07, 0.17)) * height
        at = random.uniform((radius, radius), (width - radius, height - radius))
        colour = random.uniform(20, 245, 3)
        thing, mask = _draw_thing(random, radius, colour)
        if number != without:
            picture.paste(thing, (int(at[0] - radius), int(at[1] - radius)), mask)
    return picture


def crack(picture: Image.Image, seed: int, length: float = 0.35) -> Image.Image:
    """Draw a dark branching crack over a copy of a picture, from somewhere near its middle."""
    random = np.random.default_rng(seed)
    cracked = picture.copy()
    draw = ImageDraw.Draw(cracked)
    side = min(picture.size)
    start = np.array(picture.size) * random.uniform(0.35, 0.6, 2)
    for _ in range(3):
        heading, points = random.uniform(0, 2 * np.pi), [tuple(start)]
        for _ in range(8):
            heading += random.normal(0, 0.5)
            step = side * length / 8 * np.array((np.cos(heading), np.sin(heading)))
            points.append(tuple(np.array(points[-1]) + step))
        draw.line(points, fill=(24, 18, 16), width=max(2, side // 120))
    return cracked


def stain(picture: Image.Image, at: tuple[float, float], radius: float = 0.08) -> Image.Image:
    """Lay a brownish stain with soft edges over a copy of a picture."""
    width, height = picture.size
    reach = radius * min(picture.size)
    mask = Image.new("L", picture.size)
    x, y = at[0] * width, at[1] * height
    ImageDraw.Draw(mask).ellipse((x - reach, y - reach, x + reach, y + reach), fill=190)
    mask = mask.filter(ImageFilter.GaussianBlur(reach / 8))
    return Image.composite(Image.new("RGB", picture.size, (82, 52, 20)), picture, mask)


def _draw_clouds(random: np.random.Generator, size: Size, power: float) -> NDArray[np.float64]:
    """Give noise whose waves weaken with their frequency, of deviation 1."""
    width, height = size
    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    waves[0, 0] = 1
    spectrum = np.fft.rfft2(random.normal(size=(height, width))) / waves**power
    spectrum[0, 0] = 0
    clouds = np.fft.irfft2(spectrum, s=(height, width))
    grain: NDArray[np.float64] = clouds / clouds.std()
    return grain


def _draw_thing(
    random: np.random.Generator, radius: float, colour: NDArray[np.float64]
) -> tuple[Image.Image, Image.Image]:
    """Draw something round or oval with light on one side, and its mask."""
    side = 2 * int(radius)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    turned = x * np.cos(tilt := random.uniform(0, 3)) + y * np.sin(tilt)
    oval = x**2 + y**2 + random.uniform(0, 1.2) * turned**2
    light = 0.75 + 0.5 * (np.sqrt(np.clip(1 - oval, 0, 1)) - 0.5) - 0.15 * (x + y)
    speckles = 14 * _draw_clouds(random, (side, side), 0.9)
    shaded = np.clip(light[..., None] * colour + speckles[..., None], 0, 255)
    mask = np.clip((1 - oval) * radius / 2, 0, 1) * 255
    return Image.fromarray(shaded.astype(np.uint8)), Image.fromarray(mask.astype(np.uint8))
