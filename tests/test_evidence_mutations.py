"""Whatever is changed in a valid file, an inspection gives a result or the one typed refusal.

Pictures are examined in this process, where a crash would be seen at once; films and some of the
pictures go through the confined process, as a member's would.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media import (
    BARE,
    LABEL,
    WRAPPED,
    add_chunk,
    add_segment,
    add_to_moov,
    film,
    make_box,
    make_comment,
    make_element,
    make_keyed,
    make_xmp,
    photo,
    save,
)
from signed_media import sign

from ledger_client.errors import Uninspectable
from ledger_client.evidence.aigc import parse_label
from ledger_client.evidence.attributes import Place
from ledger_client.evidence.examination import examine
from ledger_client.evidence.inspection import inspect

if TYPE_CHECKING:
    from pathlib import Path

REFUSALS = (None, "broken", "not-supported", "too-many-pixels", "too-much-metadata")
FORMS = ("JPEG", "PNG", "WEBP")
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "repeat", "cut"]),
        st.integers(0, 1_000_000),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


@cache
def seed(form: str) -> bytes:
    """Give a small picture with every kind of metadata that its format has."""
    picture = photo(64, 48)
    packet, comment = make_xmp(make_element()), make_comment(WRAPPED.encode())
    if form == "JPEG":
        raw = save(picture, form, xmp=packet, exif=comment)
        return sign(add_segment(raw, 0xEB, b"AIGC" + BARE.encode()), "image/jpeg")
    if form == "PNG":
        raw = add_chunk(save(picture, form, exif=comment), b"tEXt", b"AIGC\0" + BARE.encode())
        return add_chunk(raw, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
    return save(picture, form, xmp=packet, exif=comment)


@cache
def labelled_film() -> bytes:
    """Give a small film with a label."""
    raw = film(".mp4", 1, (64, 48))
    return add_to_moov(
        raw, make_box(b"udta", make_box(b"meta", bytes(4), make_keyed("AIGC", BARE)))
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a path for one file after another."""
    return tmp_path_factory.mktemp("mutated") / "evidence"


def mutate(raw: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    """Change bytes at places that are spread over the file, most of them near its start."""
    for how, number, new in edits:
        at = number % (len(raw) + 1) if number % 3 == 0 else number % min(len(raw) + 1, 2000)
        head, tail = raw[:at], raw[at:]
        raw = {
            "replace": head + new + tail[len(new) :],
            "insert": head + new + tail,
            "delete": head + tail[len(new) * 7 :],
            "repeat": head + tail[:200] * 3 + tail,
            "cut": head,
        }[how]
    return raw


def find_refusal(raw: bytes, path: Path, *, confined: bool) -> str | None:
    """Give the code by which a file is refused, or None for one that is inspected."""
    path.write_bytes(raw)
    try:
        if confined:
            inspect(path)
        else:
            with path.open("rb") as file:
                examine(file, str(path))
    except Uninspectable as error:
        return error.code
    return None


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=200)
@given(edits=EDITS)
def test_mutated_picture_gives_a_result_or_the_typed_refusal(
    place: Path, form: str, edits: list[tuple[str, int, bytes]]
) -> None:
    assert find_refusal(mutate(seed(form), edits), place, confined=False) in REFUSALS


@settings(max_examples=12)
@given(edits=EDITS, form=st.sampled_from([*FORMS, "film", "film", "film"]))
def test_mutated_file_never_breaks_the_confined_process_s_promise(
    place: Path, form: str, edits: list[tuple[str, int, bytes]]
) -> None:
    raw = labelled_film() if form == "film" else seed(form)
    assert find_refusal(mutate(raw, edits), place, confined=True) in {
        *REFUSALS,
        "crashed",
        "too-slow",
    }


@settings(max_examples=50)
@given(text=st.text() | st.text().map(lambda part: WRAPPED[:40] + part) | st.from_regex(r"\{.*\}"))
def test_any_text_is_a_label_or_none(text: str) -> None:
    found = parse_label(text, Place.XMP)
    assert found is None or len(found[0].raw) <= 16


@settings(max_examples=50)
@given(label=st.dictionaries(st.sampled_from(list(LABEL)), st.none() | st.integers() | st.text()))
def test_label_is_well_formed_only_when_it_is_whole(label: dict[str, object]) -> None:
    found = parse_label(json.dumps({"AIGC": label}), Place.XMP)
    assert found is None or not found[0].is_well_formed or set(label) == set(LABEL)


@pytest.mark.parametrize("form", FORMS)
def test_unchanged_seed_has_its_labels(place: Path, form: str) -> None:
    place.write_bytes(seed(form))
    found = inspect(place).evidence
    assert len(found.aigc) == {"JPEG": 3, "PNG": 3, "WEBP": 2}[form]
