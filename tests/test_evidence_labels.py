"""Labels are found in every spelling, told by closed lists, and what names somebody is kept apart.

The files are real ones; expectations are of the standard (GB 45438-2025, Annex E) and of what
programs were seen to write.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING

import pytest
from media import (
    BARE,
    IPTC,
    LABEL,
    PROVIDER,
    TC260,
    WRAPPED,
    add_chunk,
    add_segment,
    add_to_moov,
    add_xmp,
    film,
    make_box,
    make_comment,
    make_element,
    make_handler,
    make_keyed,
    make_source,
    make_text,
    make_xmp,
    photo,
    plain,
    save,
)
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ledger_client.evidence.attributes import (
    AigcLabel,
    C2paState,
    Declaration,
    Inspection,
    Place,
    ProducerClass,
    ProviderRecord,
    SoftwareClass,
    render_evidence,
)
from ledger_client.evidence.container import find_mime
from ledger_client.evidence.examination import examine
from ledger_client.evidence.inspection import inspect

if TYPE_CHECKING:
    from pathlib import Path

FORMS = ("JPEG", "PNG", "WEBP")
KEPT = ProviderRecord(PROVIDER, "picture-0001")
Look = Callable[[bytes], Inspection]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Give what examines bytes: pictures in this process, films in one of their own."""

    def examine_bytes(raw: bytes) -> Inspection:
        path = tmp_path / "evidence"
        path.write_bytes(raw)
        if find_mime(raw) is None:  # a film's decoder is told what to do by its environment
            return inspect(path)
        with path.open("rb") as file:
            return examine(file, str(path))

    return examine_bytes


def text_chunk(keyword: str, text: str, *, international: bool, zipped: bool = False) -> bytes:
    """Give a PNG with a text, by Pillow's own writer."""
    texts = PngInfo()
    add = texts.add_itxt if international else texts.add_text
    add(keyword, text, zip=zipped)
    return save(photo(), "PNG", pnginfo=texts)


def in_exif(comment: bytes, form: str = "JPEG") -> bytes:
    """Give a picture with an Exif UserComment."""
    return save(photo(), form, exif=make_comment(comment))


def in_udta(*boxes: bytes, version: bytes = bytes(4)) -> bytes:
    """Give a film with `moov.udta.meta`."""
    return add_to_moov(film(), make_box(b"udta", make_box(b"meta", version, *boxes)))


ATTRIBUTE = f'TC260:AIGC="{escape(BARE)}"'
NAME = make_box(b"mean", bytes(4), b"x") + make_box(b"name", bytes(4), b"AIGC")
FREEFORM = make_box(b"----", NAME, make_text(BARE))
FIELDS = f'TC260:Label="1" TC260:ContentProducer="{PROVIDER}" TC260:ProduceID="picture-0001"'
INNER = (
    "<TC260:AIGC rdf:parseType='Resource'><TC260:Label>1</TC260:Label>"
    f"<TC260:ContentProducer>{PROVIDER}</TC260:ContentProducer>"
    "<TC260:ProduceID>picture-0001</TC260:ProduceID></TC260:AIGC>"
)
TOOL = make_xmp("", 'xmp:CreatorTool="GIMP 3"', {"xmp": "http://ns.adobe.com/xap/1.0/"})
# Each line: where the label stands, how, and the file.
SPELLINGS: dict[str, tuple[Place, bool, bytes]] = {
    **{
        f"element of XMP in {form}": (Place.XMP, True, add_xmp(make_xmp(make_element()), form))
        for form in FORMS
    },
    **{
        f"attribute of XMP in {form}": (Place.XMP, True, add_xmp(make_xmp("", ATTRIBUTE), form))
        for form in FORMS
    },
    "wrapped in its outer object": (
        Place.XMP, True, add_xmp(make_xmp(make_element(WRAPPED)), "JPEG"),
    ),
    "as CDATA": (
        Place.XMP, True, add_xmp(make_xmp(f"<TC260:AIGC><![CDATA[{BARE}]]></TC260:AIGC>"), "PNG"),
    ),
    "with entities twice": (
        Place.XMP, True, add_xmp(make_xmp(make_element(escape(BARE))), "PNG"),
    ),
    "as a string in JSON": (
        Place.XMP, True, add_xmp(make_xmp(make_element(json.dumps({"AIGC": BARE}))), "JPEG"),
    ),
    "under an undeclared prefix": (
        Place.XMP, True, add_xmp(make_xmp(make_element(), "", {"C260": TC260}), "JPEG"),
    ),
    "as fields of XMP": (Place.XMP, False, add_xmp(make_xmp("", FIELDS), "JPEG")),
    "as a structure of XMP": (Place.XMP, False, add_xmp(make_xmp(INNER), "PNG")),
    "behind another head of APP1": (
        Place.XMP, True, add_segment(plain("JPEG"), 0xE1, b"XMP\0" + make_xmp(make_element())),
    ),
    "iTXt with its own keyword": (
        Place.PNG_TEXT, True, text_chunk("AIGC", BARE, international=True),
    ),
    "tEXt with its own keyword": (
        Place.PNG_TEXT, True, text_chunk("AIGC", WRAPPED, international=False),
    ),
    "deflated iTXt": (
        Place.PNG_TEXT, True, text_chunk("AIGC", BARE, international=True, zipped=True),
    ),
    "zTXt": (Place.PNG_TEXT, True, text_chunk("AIGC", BARE, international=False, zipped=True)),
    "tEXt as a comment": (
        Place.PNG_TEXT, True, text_chunk("Comment", WRAPPED, international=False),
    ),
    "ASCII UserComment": (Place.EXIF, True, in_exif(b"ASCII\0\0\0" + WRAPPED.encode())),
    "bare UserComment": (Place.EXIF, True, in_exif(WRAPPED.encode())),
    "undefined UserComment": (Place.EXIF, True, in_exif(bytes(8) + BARE.encode())),
    "little UTF-16 UserComment": (
        Place.EXIF, True, in_exif(b"UNICODE\0" + WRAPPED.encode("utf-16-le")),
    ),
    "big UTF-16 UserComment": (
        Place.EXIF, True, in_exif(b"UNICODE\0" + WRAPPED.encode("utf-16-be")),
    ),
    "UTF-8 called UNICODE": (Place.EXIF, True, in_exif(b"UNICODE\0" + WRAPPED.encode())),
    "UserComment in PNG": (Place.EXIF, True, in_exif(WRAPPED.encode(), "PNG")),
    "UserComment in WebP": (Place.EXIF, True, in_exif(WRAPPED.encode(), "WEBP")),
    "bare APP segment with a name": (
        Place.SEGMENT, True, add_segment(plain("JPEG"), 0xEB, b"AIGC" + BARE.encode()),
    ),
    "bare APP segment of JSON": (
        Place.SEGMENT, True, add_segment(plain("JPEG"), 0xE9, WRAPPED.encode()),
    ),
    "bare APP1 segment": (
        Place.SEGMENT, True, add_segment(plain("JPEG"), 0xE1, b"AIGC\0" + BARE.encode()),
    ),
    "comment segment": (Place.SEGMENT, True, add_segment(plain("JPEG"), 0xFE, WRAPPED.encode())),
    "keyed moov.udta.meta": (Place.MP4, True, in_udta(make_keyed("AIGC", BARE))),
    "keyed and wrapped": (Place.MP4, True, in_udta(make_keyed("AIGC", WRAPPED))),
    "QuickTime's meta without a version": (
        Place.MP4, True, in_udta(make_keyed("com.x.AIGC", BARE), version=b""),
    ),
    "moov.meta": (
        Place.MP4, True, add_to_moov(film(), make_box(b"meta", make_keyed("AIGC", BARE))),
    ),
    "iTunes' own name": (
        Place.MP4, True, in_udta(make_handler(b"mdir"), make_box(b"ilst", FREEFORM)),
    ),
    "iTunes' comment": (
        Place.MP4, True,
        in_udta(make_handler(b"mdir"), make_box(b"ilst", make_box(b"\xa9cmt", make_text(WRAPPED)))),
    ),
    "box right under udta": (
        Place.MP4, True, add_to_moov(film(), make_box(b"udta", make_box(b"AIGC", BARE.encode()))),
    ),
    "XMP box of a film": (
        Place.XMP, True,
        film() + make_box(
            b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac"), make_xmp(make_element())
        ),
    ),
    "label in a MOV": (
        Place.MP4, True,
        add_to_moov(film(".mov"), make_box(b"meta", make_keyed("AIGC", BARE))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_label_is_found_in_every_spelling(spelling: str, look: Look) -> None:
    place, is_well_formed, raw = SPELLINGS[spelling]
    found = look(raw)
    wanted = AigcLabel(
        place, Declaration.GENERATED, "1", ProducerClass.ORGANISATION, is_well_formed
    )
    assert found.evidence.aigc == (wanted,)
    assert found.evidence.ai_declared
    assert found.kept == (KEPT,)
    assert found.evidence.unreadable == ()


@pytest.mark.parametrize("form", [*FORMS, ".mp4", ".mov"])
def test_file_without_labels_declares_nothing(form: str, look: Look) -> None:
    raw = film(form) if form.startswith(".") else plain(form)
    shown = look(raw).evidence
    mimes = {".mp4": "video/mp4", ".mov": "video/quicktime"}
    assert shown.mime == mimes.get(form, f"image/{form.lower()}")
    assert shown.sha256 == hashlib.sha256(raw).digest()
    assert (shown.ai_declared, shown.aigc, shown.digital_source_type) == (False, (), None)
    assert (shown.c2pa, shown.c2pa_source_type) == (C2paState.ABSENT, None)
    assert shown.unreadable == ()
    assert shown.software is (SoftwareClass.ENCODER if form in mimes else SoftwareClass.NONE)


@pytest.mark.parametrize(
    ("label", "declaration", "raw", "declared"),
    [
        ("1", Declaration.GENERATED, "1", True),
        ("2", Declaration.POSSIBLE, "2", True),
        ("3", Declaration.SUSPECTED, "3", True),
        (1, Declaration.GENERATED, "1", True),
        ("AI生成", Declaration.OTHER, "AI生成", True),
        ("value1", Declaration.OTHER, "value1", True),
        (True, Declaration.OTHER, "true", True),
        ("0", Declaration.OTHER, "0", False),
        (None, Declaration.OTHER, "", False),
        ("x" * 500, Declaration.OTHER, "x" * 16, True),
        ("a\0b\nc\x1b[31m", Declaration.OTHER, "abc[31m", True),
    ],
)
def test_wild_label_is_tolerated_and_told_raw_in_short(
    label: object,
    declaration: Declaration,
    raw: str,
    declared: bool,
    look: Look,
) -> None:
    text = json.dumps({"AIGC": {**LABEL, "Label": label}})
    shown = look(text_chunk("AIGC", text, international=True)).evidence
    assert [(one.declaration, one.raw) for one in shown.aigc] == [(declaration, raw)]
    assert shown.ai_declared is declared
    assert shown.aigc[0].is_well_formed is (label in {"1", "2", "3"} and isinstance(label, str))


@pytest.mark.parametrize(
    ("text", "raw", "kept"),
    [
        (WRAPPED[:-2], "1", (KEPT,)),  # cut off
        (BARE.replace("}", ",}"), "1", (KEPT,)),
        ('{"Label": "1", "ContentProducer": "x" "ProduceID": 7}', "1", (ProviderRecord("x", "7"),)),
        ('{"Label":"2"', "2", ()),
    ],
)
def test_broken_json_still_gives_its_fields(
    text: str, raw: str, kept: tuple[ProviderRecord, ...], look: Look
) -> None:
    found = look(text_chunk("AIGC", text, international=True))
    assert [one.raw for one in found.evidence.aigc] == [raw]
    assert found.evidence.aigc[0].is_well_formed is False
    assert found.kept == kept


@pytest.mark.parametrize("text", ["", "[1]", '{"x":1}', "{" * 30_000, '{"AIGC":' * 9_000])
def test_text_under_the_label_s_name_that_is_none_is_told_as_unreadable(
    text: str, look: Look
) -> None:
    shown = look(text_chunk("AIGC", text, international=True)).evidence
    assert (shown.aigc, shown.unreadable) == ((), ("aigc_png_text",))


@pytest.mark.parametrize(
    ("producer", "its_class"),
    [
        (PROVIDER, ProducerClass.ORGANISATION),
        ("0021" + "A1B2C3D4E5F6A7B8C9" + "00001", ProducerClass.PERSON),
        ("A product", ProducerClass.UNCODED),
        ("0011" + "0" * 22, ProducerClass.UNCODED),
        ("", ProducerClass.NONE),
    ],
)
def test_provider_is_told_by_its_class_alone(
    producer: str, its_class: ProducerClass, look: Look
) -> None:
    text = json.dumps({**LABEL, "ContentProducer": producer})
    found = look(text_chunk("AIGC", text, international=True))
    assert found.evidence.aigc[0].producer_class is its_class
    assert found.kept[0].content_producer == producer
    told = json.dumps(render_evidence(found.evidence), ensure_ascii=False)
    assert "picture-0001" not in told
    assert not producer or producer not in told


def test_exif_that_is_none_is_told_and_the_rest_is_read(look: Look) -> None:
    broken = add_chunk(add_xmp(make_xmp(make_element()), "PNG"), b"eXIf", b"garbage")
    shown = look(broken).evidence
    assert (shown.unreadable, len(shown.aigc), len(shown.perceptual)) == (("exif",), 1, 1)


def test_two_labels_are_both_told(look: Look) -> None:
    raw = add_segment(add_xmp(make_xmp(make_element()), "JPEG"), 0xEB, BARE.encode())
    assert {one.place for one in look(raw).evidence.aigc} == {Place.XMP, Place.SEGMENT}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("code", "told", "declared"),
    [
        ("trainedAlgorithmicMedia", "trainedAlgorithmicMedia", True),
        ("compositeWithTrainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", True),
        ("TRAINEDALGORITHMICMEDIA", "trainedAlgorithmicMedia", True),
        ("digitalCapture", "digitalCapture", False),
        ("by-somebody@example.org", "other", False),
    ],
)
def test_iptc_source_type_is_told_by_its_code(
    form: str, code: str, told: str, declared: bool, look: Look
) -> None:
    shown = look(add_xmp(make_source(code), form)).evidence
    assert (shown.digital_source_type, shown.ai_declared) == (told, declared)


def test_iptc_source_type_is_found_under_its_older_names(
    look: Look,
) -> None:
    older = IPTC.replace("02-29", "02-19")
    attribute = 'I:DigitalSourcefileType="digsrctype:trainedAlgorithmicMedia"'
    packet = make_xmp("", attribute, {"I": older})
    assert look(add_xmp(packet, "PNG")).evidence.digital_source_type == "trainedAlgorithmicMedia"


@pytest.mark.parametrize(
    ("raw", "its_class"),
    [
        (text_chunk("parameters", "a crab, Steps: 20", international=False), "ai_generator"),
        (text_chunk("Software", "NovelAI", international=False), "ai_generator"),
        (text_chunk("Software", "Adobe Photoshop 27", international=False), "editor"),
        (text_chunk("Software", "A firmware", international=False), "other"),
        (text_chunk("Title", "Midjourney", international=False), "none"),
        (
            add_xmp(
                make_xmp("", 'xmp:CreatorTool="GIMP 3"', {"xmp": "http://ns.adobe.com/xap/1.0/"}),
                "JPEG",
            ),
            "editor",
        ),
    ],
)
def test_software_is_told_by_its_class(raw: bytes, its_class: str, look: Look) -> None:
    shown = look(raw).evidence
    assert (shown.software, shown.ai_declared) == (its_class, its_class == "ai_generator")


def test_what_names_a_person_or_a_device_is_reported_nowhere(look: Look) -> None:
    exif = Image.Exif()
    at = "2026:01:02 03:04:05"
    secrets = {0x010F: "MAKER77", 0x0110: "MODEL77", 0x013B: "ARTIST77", 0x0132: at}
    for tag, text in secrets.items():
        exif[tag] = text
    exif.get_ifd(0x8769)[0xA431] = "SERIAL77"
    exif.get_ifd(0x8769)[0x9003] = at
    exif.get_ifd(0x8825)[1], exif.get_ifd(0x8825)[2] = "N", (31.0, 13.0, 47.7)
    packet = make_xmp(
        "<dc:creator>CREATOR77</dc:creator>",
        'exif:GPSLatitude="31,13.77N" xmpMM:DocumentID="DOC77"',
        {
            "dc": "http://purl.org/dc/elements/1.1/",
            "exif": "http://ns.adobe.com/exif/1.0/",
            "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
        },
    )
    found = look(save(photo(), "JPEG", exif=exif, xmp=packet))
    assert found.evidence.software is SoftwareClass.CAMERA
    told = json.dumps(asdict(found), default=bytes.hex)
    assert not re.search(r"(MAKER|MODEL|ARTIST|SERIAL|CREATOR|DOC)77|2026|31[.,]", told)


def test_reported_fields_are_these_and_no_other(look: Look) -> None:
    told = render_evidence(look(plain("JPEG")).evidence)
    assert list(told) == [
        "sha256", "mime", "pdq", "ai_declared", "aigc", "digital_source_type", "c2pa", "software",
        "unreadable",
    ]  # fmt: skip
