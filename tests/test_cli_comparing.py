"""`bcl evidence compare` draws where photos depart, writes the picture, and judges nobody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageOps
from scenery import stain, still_life

from cli.comparing import draw_blocks
from cli.main import main
from ledger_client.evidence.comparison import Drawing

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str | Path) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["evidence", "compare", *map(str, arguments)])


def measure(path: Path) -> tuple[int, int]:
    """Give the sides of a picture that was written."""
    with Image.open(path) as picture:
        return picture.size


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    """Give a shop's photo, and a claim's: mirrored, with a stain."""
    shop = still_life(1)
    shop.save(tmp_path / "shop.jpg")
    ImageOps.mirror(stain(shop, (0.5, 0.4))).save(tmp_path / "claim.jpg")
    return tmp_path / "claim.jpg"


def test_departure_is_told_with_its_place_and_drawn_and_ends_with_zero(claim: Path) -> None:
    overlay = claim.with_name("overlay.png")
    told = run(claim, claim.with_name("shop.jpg"), "--overlay", overlay)
    assert told.exit_code == 0
    for words in ("looks the same, mirrored", "laid over", "in 1 region", "from the left"):
        assert words in told.stdout
    assert "forge" not in told.output
    assert measure(overlay) == (512, 3 * 384 + 12)


def test_json_has_every_number_and_no_picture(claim: Path) -> None:
    told = json.loads(run(claim, claim.with_name("shop.jpg"), "--json").stdout)
    assert (told["turn"], told["is_same_bytes"], len(told["regions"])) == ("mirrored", False, 1)
    assert told["placement"]["is_mirrored"]
    assert "overlay" not in told


def test_set_is_told_by_numbers_and_its_sheet_written(claim: Path) -> None:
    sheet = claim.with_name("sheet.png")
    told = run("--set", claim, claim.with_name("shop.jpg"), claim, "--overlay", sheet)
    assert told.exit_code == 0
    for words in ("1, 2  the same picture mirrored", "1, 3  the very same file", "3     claim.jpg"):
        assert words in told.stdout
    assert measure(sheet)[0] == 960
    found = json.loads(run("--set", "--json", claim, claim).stdout)
    assert found == {
        "frames": [1, 1],
        "findings": [{"kind": "same_bytes", "first": 1, "second": 2, "amount": 0.0}],
    }


def test_pictures_that_have_nothing_in_common_end_with_zero_and_no_picture(claim: Path) -> None:
    other, overlay = claim.with_name("other.png"), claim.with_name("overlay.png")
    still_life(8).save(other)
    told = run(other, claim, "--overlay", overlay)
    assert (told.exit_code, overlay.exists()) == (0, False)
    assert "no: not the same picture" in told.stdout
    assert "no picture was written" in told.stderr


def test_asking_wrongly_ends_with_two_and_a_broken_file_with_one(claim: Path) -> None:
    wrong: tuple[tuple[str | Path, ...], ...]
    wrong = ((claim,), (claim, claim, claim), ("--set", claim), ("--set", *[claim] * 13))
    for arguments in wrong:
        assert run(*arguments).exit_code == 2
    broken = claim.with_name("broken.jpg")
    broken.write_bytes(claim.read_bytes()[:300])
    told = run(broken, claim)
    assert (told.exit_code, told.stdout) == (1, "")
    assert "broken" in told.stderr


def test_blocks_have_the_colours_of_the_picture_s_corners() -> None:
    picture = Image.new("RGB", (8, 8), "#102030")
    picture.paste("#ff8000", (4, 0, 8, 4))
    text = draw_blocks(Drawing(8, 8, picture.tobytes()), 4)
    assert text.plain == "▀▀▀▀\n▀▀▀▀\n"
    styles = [str(span.style) for span in text.spans]
    assert styles[0] == "#102030 on #102030"
    assert styles[3] == "#ff8000 on #ff8000"
    assert styles[7] == "#102030 on #102030"
