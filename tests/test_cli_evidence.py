"""`bcl evidence inspect` tells what was found, drawn or as JSON, with the codes of the house."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from media import PROVIDER, add_xmp, make_element, make_source, make_xmp, photo, plain, save

from cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str | Path) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, ["evidence", "inspect", *map(str, arguments)])


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Give a picture with a label."""
    path = tmp_path / "labelled.png"
    path.write_bytes(add_xmp(make_xmp(make_element()), "PNG"))
    return path


def test_picture_tells_its_label_and_never_its_provider(labelled: Path) -> None:
    told = run(labelled)
    assert told.exit_code == 0
    for words in ("made or altered by AI", "generated", "organisation", "xmp", "image/png", "▀"):
        assert words in told.stdout
    assert PROVIDER not in told.stdout
    assert PROVIDER in run(labelled, "--provider").stdout


def test_json_is_one_object_a_line_and_the_provider_stands_apart(
    labelled: Path, tmp_path: Path
) -> None:
    (tmp_path / "plain.jpg").write_bytes(plain("JPEG"))
    told = run(labelled, tmp_path / "plain.jpg", "--json")
    first, second = map(json.loads, told.stdout.splitlines())
    assert (told.exit_code, first["file"]) == (0, str(labelled))
    assert first["evidence"]["aigc"][0]["declaration"] == "generated"
    assert len(first["evidence"]["pdq"][0]["forms"]) == 8
    assert (second["evidence"]["ai_declared"], "provider" in second) == (False, False)
    assert PROVIDER not in told.stdout
    kept = json.loads(run(labelled, "--json", "--provider").stdout)
    assert kept["provider"] == [{"content_producer": PROVIDER, "produce_id": "picture-0001"}]
    assert PROVIDER not in json.dumps(kept["evidence"])


def test_file_that_can_t_be_inspected_is_told_beside_the_others_and_ends_with_one(
    labelled: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(plain("JPEG")[:5000])
    told = run(broken, labelled, "--json")
    assert told.exit_code == 1
    assert "broken: The image can't be decoded." in told.stderr
    assert json.loads(told.stdout)["file"] == str(labelled)


def test_file_that_is_not_there_is_asked_wrongly(tmp_path: Path) -> None:
    assert run(tmp_path / "gone.jpg").exit_code == 2
    assert run().exit_code == 2


def test_missing_extra_is_asked_wrongly(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)  # which is how Python notes what isn't there
    told = run(labelled)
    assert (told.exit_code, told.stdout) == (2, "")
    assert "needs the extra `evidence`" in told.stderr


def test_nothing_found_is_said_to_prove_nothing(tmp_path: Path) -> None:
    path = tmp_path / "plain.webp"
    path.write_bytes(save(photo().convert("L").point(lambda _: 7), "WEBP"))
    told = run(path)
    assert "that proves nothing" in told.stdout
    assert "below 50 tells nothing" in told.stdout


def test_source_and_damage_are_told(tmp_path: Path) -> None:
    path = tmp_path / "source.png"
    path.write_bytes(add_xmp(make_source("digitalCapture"), "PNG"))
    assert "digitalCapture" in run(path).stdout
    path.write_bytes(add_xmp(b"<x", "PNG"))
    assert "unreadable" in run(path).stdout
