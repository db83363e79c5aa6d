"""Where a claim's photo departs from the shop's, and what a claim's files contradict.

Pictures are drawn from seeds, so that it is known where a crack was painted on and what was taken
away. Everything goes through the confined process, as for a member.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from media import film
from PIL import Image, ImageEnhance, ImageOps
from scenery import crack, stain, still_life

from ledger_client.errors import Uninspectable
from ledger_client.evidence.comparison import (
    Comparison,
    Drawing,
    Finding,
    FindingKind,
    Turn,
    compare,
    compare_set,
    write_png,
)
from ledger_client.evidence.inspection import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TAKEN = datetime(2026, 1, 2, 10, 0, tzinfo=UTC)


def save(folder: Path, name: str, picture: Image.Image, **options: Any) -> Path:
    """Save a picture as a buyer's phone or a shop would."""
    picture.save(folder / name, **({"quality": 80} | options))
    return folder / name


def shoot(folder: Path, name: str, picture: Image.Image, **records: Any) -> Path:
    """Save a picture with a camera's records: make, taken, saved, sides."""
    exif = Image.Exif()
    exif[0x010F] = records.get("make", "Camera")
    if "saved" in records:
        exif[0x0132] = f"{records['saved']:%Y:%m:%d %H:%M:%S}"
    photo = exif.get_ifd(0x8769)
    photo[0x9003] = f"{records.get('taken', TAKEN):%Y:%m:%d %H:%M:%S}"
    photo[0xA002], photo[0xA003] = records.get("sides", picture.size)
    return save(folder, name, picture, exif=exif)


def set_against(folder: Path, claim: Image.Image, listing: Image.Image) -> Comparison:
    """Compare two pictures as files."""
    return compare(save(folder, "claim.jpg", claim), save(folder, "shop.jpg", listing, quality=92))


def overlaps(comparison: Comparison, left: float, top: float, right: float, bottom: float) -> bool:
    """Tell whether the largest region covers this box, in parts of the frame."""
    one = comparison.regions[0]
    return (
        one.left / 1000 <= left
        and one.top / 1000 <= top
        and (one.left + one.width) / 1000 >= right
        and (one.top + one.height) / 1000 >= bottom
    )


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda one: one,
    "smaller": lambda one: one.resize((400, 300)),
    "cut by a tenth": lambda one: one.crop((64, 48, 640, 480)),
    "tilted": lambda one: one.rotate(5, Image.Resampling.BICUBIC),
    "darker": lambda one: ImageEnhance.Brightness(one).enhance(0.7),
    "mirrored": ImageOps.mirror,
    "mirrored and cut by a tenth": lambda one: ImageOps.mirror(one).crop((64, 48, 640, 480)),
    "turned": lambda one: one.transpose(Image.Transpose.ROTATE_90),
}


@pytest.mark.parametrize("change", CHANGES)
def test_stain_is_found_where_it_was_laid_whatever_else_was_done(
    tmp_path: Path, change: str
) -> None:
    shop = still_life(1)
    found = set_against(tmp_path, CHANGES[change](stain(shop, (0.5, 0.4))), shop)
    assert found.placement is not None
    assert overlaps(found, 0.46, 0.35, 0.54, 0.45)
    assert len(found.regions) == 1
    assert found.placement.is_mirrored == ("mirrored" in change)
    assert found.overlay is not None


@pytest.mark.parametrize("change", ["smaller", "tilted", "darker", "mirrored"])
def test_picture_that_wasn_t_altered_departs_nowhere(tmp_path: Path, change: str) -> None:
    shop = still_life(3)
    found = set_against(tmp_path, CHANGES[change](shop), shop)
    assert found.placement is not None
    assert found.regions == ()
    assert found.departed_per_mille == 0


@pytest.mark.parametrize("seed", [0, 4])
def test_thin_crack_is_found_and_drawn_in_red_along_its_line(tmp_path: Path, seed: int) -> None:
    shop = still_life(seed, (500, 375))
    cracked = crack(shop, seed)
    found = set_against(tmp_path, cracked, shop)
    drawn = found.overlay
    assert drawn is not None
    assert (drawn.width, drawn.height) == (500, 3 * 375 + 12)
    rows = np.frombuffer(drawn.pixels, np.uint8).reshape(drawn.height, drawn.width, 3)
    is_red = (rows[-375:] == (230, 20, 20)).all(axis=2)
    is_changed = (np.asarray(cracked) != np.asarray(shop)).any(axis=2)
    assert is_red[is_changed].mean() >= 0.8
    assert not is_red[:, :60].any()


def test_other_picture_of_the_same_kind_isn_t_laid_over(tmp_path: Path) -> None:
    found = set_against(tmp_path, still_life(5), still_life(6))
    assert (found.placement, found.overlay, found.regions) == (None, None, ())
    assert found.distance > 60


def test_mirrored_copy_says_how_it_was_turned_and_same_file_that_it_is(tmp_path: Path) -> None:
    shop = still_life(2)
    found = set_against(tmp_path, ImageOps.mirror(shop), shop)
    assert (found.turn, found.is_same_bytes) == (Turn.MIRRORED, False)
    assert found.distance <= 31
    path = tmp_path / "shop.jpg"
    assert compare(path, path).is_same_bytes
    assert compare(path, path).distance == 0


def test_drawing_is_written_as_a_png_that_another_program_reads() -> None:
    picture = still_life(4, (61, 40))
    raw = write_png(Drawing(61, 40, picture.tobytes()))
    read = Image.open(BytesIO(raw))
    assert read.format == "PNG"
    assert read.convert("RGB").tobytes() == picture.tobytes()


def list_findings(*paths: Path) -> list[Finding]:
    """Compare a set, and give what was found."""
    return list(compare_set(paths).findings)


def test_thing_that_vanished_between_two_photos_of_a_scene_is_one_region(tmp_path: Path) -> None:
    one = save(tmp_path, "1.jpg", still_life(9))
    other = save(tmp_path, "2.jpg", still_life(9, without=2).crop((30, 20, 620, 470)))
    found = list_findings(one, other)
    assert Finding(FindingKind.SCENE_DEPARTS, 1, 2, 1.0) in found


def test_film_and_photo_of_one_scene_are_compared_by_the_film_s_frames(tmp_path: Path) -> None:
    path = tmp_path / "claim.mp4"
    path.write_bytes(film())
    collation = compare_set((path, save(tmp_path, "1.jpg", still_life(9))))
    assert collation.frames[0] >= 2
    assert collation.frames[1] == 1
    assert collation.findings == ()
    assert len(collation.sheet.pixels) == 3 * collation.sheet.width * collation.sheet.height


def test_copies_of_one_picture_are_told_by_what_was_done_to_them(tmp_path: Path) -> None:
    picture = still_life(7)
    first = save(tmp_path, "1.jpg", picture)
    second = tmp_path / "2.jpg"
    second.write_bytes(first.read_bytes())
    third = save(tmp_path, "3.png", ImageOps.mirror(picture))
    fourth = save(tmp_path, "4.jpg", picture.resize((320, 240)), quality=60)
    fifth = save(tmp_path, "5.jpg", picture.crop((0, 0, 500, 380)))
    found = {
        (one.first, one.second): one.kind
        for one in list_findings(first, second, third, fourth, fifth)
    }
    assert found[1, 2] is FindingKind.SAME_BYTES
    assert found[1, 3] is FindingKind.TURNED_PICTURE
    assert found[1, 4] is FindingKind.SAME_PICTURE
    assert found[1, 5] is FindingKind.SAME_SCENE


def test_records_that_contradict_are_told_with_by_how_much(tmp_path: Path) -> None:
    day = timedelta(days=1)
    first = shoot(tmp_path, "1.jpg", still_life(1), saved=TAKEN + timedelta(hours=2))
    second = shoot(tmp_path, "2.jpg", still_life(2), taken=TAKEN + 3 * day, saved=TAKEN)
    third = shoot(tmp_path, "3.jpg", still_life(3), make="Other", sides=(1280, 960))
    fourth = shoot(tmp_path, "4.jpg", still_life(4, (640, 400)))
    assert set(list_findings(first, second, third, fourth)) == {
        Finding(FindingKind.SAVED_LATER, 1, 1, 7200.0),
        Finding(FindingKind.SAVED_BEFORE, 2, 2, 3 * 86_400.0),
        Finding(FindingKind.SIZE_CONTRADICTS, 3, 3, 4.0),
        Finding(FindingKind.TIMES_APART, 1, 2, 3 * 86_400.0),
        Finding(FindingKind.TIMES_APART, 2, 3, 3 * 86_400.0),
        Finding(FindingKind.TIMES_APART, 2, 4, 3 * 86_400.0),
        Finding(FindingKind.CAMERAS_DIFFER, 1, 3, 0.0),
        Finding(FindingKind.CAMERAS_DIFFER, 2, 3, 0.0),
        Finding(FindingKind.CAMERAS_DIFFER, 3, 4, 0.0),
        Finding(FindingKind.SHAPES_DIFFER, 1, 4, 1.2),
        Finding(FindingKind.SHAPES_DIFFER, 2, 4, 1.2),
    }


def test_honest_photos_of_one_afternoon_contradict_nothing(tmp_path: Path) -> None:
    shots = [
        shoot(tmp_path, f"{seed}.jpg", still_life(seed), taken=TAKEN + timedelta(minutes=seed))
        for seed in (1, 2, 3)
    ]
    assert list_findings(*shots) == []


def test_broken_file_film_and_lonely_file_are_refused_and_limits_hold(tmp_path: Path) -> None:
    good = save(tmp_path, "good.jpg", still_life(1))
    broken, video = tmp_path / "broken.jpg", tmp_path / "film.mp4"
    broken.write_bytes(good.read_bytes()[:200])
    video.write_bytes(film())
    for code, paths in (("broken", (good, broken)), ("not-supported", (video, good))):
        with pytest.raises(Uninspectable) as refused:
            compare(*paths)
        assert refused.value.code == code
    with pytest.raises(Uninspectable, match="broken"):
        compare_set((good, broken))
    with pytest.raises(Uninspectable, match="2 to 12"):
        compare_set((good,))
    with pytest.raises(Uninspectable) as refused:
        compare(good, good, Limits(seconds=0.05))
    assert refused.value.code == "too-slow"
