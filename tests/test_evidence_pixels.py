"""Pixels come one way, upright and on white, and a film's key frames are known again by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from media import film, photo, save
from PIL import Image, ImageOps

from ledger_client.evidence.decoding import decode_bytes
from ledger_client.evidence.inspection import inspect
from ledger_client.evidence.pdq import distance, hash_image

if TYPE_CHECKING:
    from pathlib import Path

    from ledger_client.evidence.attributes import PerceptualHash

ORIENTATION = 0x0112
TURNED_BACK = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Exif's by Pillow's of the inverse


def look(raw: bytes, path: Path) -> tuple[PerceptualHash, ...]:
    """Inspect bytes, and give what is recognised."""
    path.write_bytes(raw)
    return inspect(path).evidence.perceptual


@pytest.mark.parametrize("number", TURNED_BACK)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_picture_is_turned_as_its_camera_was_held(form: str, number: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = number
    stored = photo(800, 600).transpose(Image.Transpose(TURNED_BACK[number]))
    seen = decode_bytes(save(stored, form, exif=exif))
    assert (seen.mode, seen.size) == ("RGB", (512, 384))
    straight = np.asarray(decode_bytes(save(photo(800, 600), form)), np.int16)
    assert np.abs(np.asarray(seen, np.int16) - straight).mean() < 4


@pytest.mark.parametrize(
    ("mode", "form", "colour", "seen"),
    [
        ("RGBA", "PNG", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", "PNG", (255, 0, 0, 128), (255, 127, 127)),
        ("RGBA", "WEBP", (0, 0, 0, 0), (255, 255, 255)),
        ("LA", "PNG", (0, 0), (255, 255, 255)),
        ("L", "PNG", 77, (77, 77, 77)),
        ("1", "PNG", 1, (255, 255, 255)),
        ("I;16", "PNG", 0x4D4D, (77, 77, 77)),
        ("CMYK", "JPEG", (0, 255, 255, 0), (255, 0, 0)),
        ("P", "PNG", 0, (0, 0, 0)),
    ],
)
def test_every_mode_is_seen_as_a_reviewer_sees_it(
    mode: str, form: str, colour: tuple[int, ...] | int, seen: tuple[int, int, int]
) -> None:
    shown = decode_bytes(save(Image.new(mode, (600, 300), colour), form))
    assert (shown.mode, shown.size) == ("RGB", (512, 256))
    pixel = shown.getpixel((250, 100))
    assert isinstance(pixel, tuple)
    assert max(abs(one - other) for one, other in zip(pixel, seen, strict=True)) <= 2


def test_small_picture_isn_t_scaled_up() -> None:
    assert decode_bytes(save(photo(40, 30), "PNG")).size == (40, 30)


def test_mirrored_and_recompressed_picture_is_known_again(tmp_path: Path) -> None:
    original = look(save(photo(), "PNG"), tmp_path / "a")[0]
    copy = ImageOps.mirror(photo()).resize((333, 250))
    again = look(save(copy, "JPEG", quality=60), tmp_path / "b")[0]
    assert min(distance(form, again.forms[0]) for form in original.forms) <= 31
    assert distance(original.forms[0], again.forms[0]) > 31
    other = look(save(photo(part=1.0), "PNG"), tmp_path / "c")[0]
    assert min(distance(form, other.forms[0]) for form in original.forms) > 31


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_film_gives_each_scene_once(suffix: str, tmp_path: Path) -> None:
    frames = look(film(suffix), tmp_path / "film")
    assert len(frames) == 3
    for scene, frame in enumerate(frames):
        still = hash_image(decode_bytes(save(photo(320, 240, part=scene / 2), "PNG")))
        assert distance(still.forms[0], frame.forms[0]) <= 31
        assert frame.quality >= 50


def test_scene_that_doesn_t_change_gives_one_hash_and_a_long_film_sixteen(tmp_path: Path) -> None:
    assert len(look(film(scenes=1), tmp_path / "film")) == 1
    assert len(look(film(scenes=30, side=(160, 120)), tmp_path / "film")) == 16
