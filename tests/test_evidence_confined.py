"""Files made to hurt end in one typed refusal or in what is true of them, inside every limit.

Each is inspected in the confined process, as a member would. The confinement itself is tried by
programs that want out.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typing_extensions
from media import (
    BARE,
    add_chunk,
    add_to_moov,
    add_xmp,
    film,
    make_box,
    make_chunk,
    make_element,
    make_keyed,
    make_xmp,
    plain,
    save,
)
from PIL import Image
from signed_media import sign
from test_evidence_provenance import asked

from ledger_client.errors import Uninspectable
from ledger_client.evidence.attributes import C2paState, Declaration
from ledger_client.evidence.decoding import PIXELS_MAX, decode
from ledger_client.evidence.inspection import Limits, inspect, parse_answer

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
HEADER = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
PIXEL_BOMB = b"\x89PNG\r\n\x1a\n" + make_chunk(b"IHDR", HEADER) + make_chunk(b"IEND", b"")
ZEROS = zlib.compress(bytes(200_000_000), 9)
SMALL_BOMB = make_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000)))
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
LAUGHING = f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><x>&l9;</x>'.encode()
OUTSIDE = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x>&e;</x>'
DEEP = make_xmp("<a>" * 100_000 + "</a>" * 100_000)
ZIP_TAIL = b"PK\5\6" + bytes(18)
HTML = b"<script>alert(1)</script><?php echo 1 ?>"


def resize_jpeg(jpeg: bytes, width: int, height: int) -> bytes:
    """Give a JPEG that announces another size than it has."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Path]:
    """Give what writes bytes to a file."""

    def write(raw: bytes) -> Path:
        path = tmp_path / "evidence"
        path.write_bytes(raw)
        return path

    return write


@pytest.fixture(scope="module")
def largest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a PNG of exactly 50 million pixels."""
    path = tmp_path_factory.mktemp("largest") / "largest.png"
    Image.new("RGB", (10_000, 5_000), "red").save(path, compress_level=1)
    return path


REFUSED = {
    "pixel bomb": ("too-many-pixels", PIXEL_BOMB),
    "JPEG that announces too much": (
        "too-many-pixels", resize_jpeg(plain("JPEG"), 65_500, 65_500),
    ),
    "PNG one column too wide": (
        "too-many-pixels", save(Image.new("1", (10_001, 5_000)), "PNG"),
    ),
    "zTXt bomb": ("too-much-metadata", add_chunk(plain("PNG"), b"zTXt", b"a\0\0" + ZEROS)),
    "iTXt bomb": (
        "too-much-metadata",
        add_chunk(plain("PNG"), b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + ZEROS),
    ),
    "many small bombs": (
        "too-much-metadata", plain("PNG")[:33] + SMALL_BOMB * 6 + plain("PNG")[33:],
    ),
    "colour profile bomb": ("broken", add_chunk(plain("PNG"), b"iCCP", b"a\0\0" + ZEROS)),
    "many chunks": (
        "too-much-metadata", plain("PNG")[:33] + make_chunk(b"tEXt", b"a\0b") * 20_000,
    ),
    "many boxes": (
        "too-much-metadata",
        add_to_moov(film(), make_box(b"udta", make_box(b"free") * 30_000)),
    ),
    "huge moov": (
        "too-much-metadata", film() + make_box(b"moov", bytes(33_000_000)),
    ),
    "image beyond 20 MB": ("too-large", plain("JPEG") + bytes(20_000_000)),
    "empty": ("not-supported", b""),
    "text": ("not-supported", b"a crab with a broken leg"),
    "web page": ("not-supported", b"<!doctype html>" + plain("JPEG")),
    "GIF": ("not-supported", save(Image.new("L", (9, 9)), "GIF")),
    "half a JPEG": ("broken", plain("JPEG")[:4000]),
    "half a PNG": ("broken", plain("PNG")[:4000]),
    "half a WebP": ("broken", plain("WEBP")[:4000]),
    "film without its description": ("broken", film()[:50_000]),
    "film of nothing": ("broken", make_box(b"ftyp", b"isom", bytes(8)) + make_box(b"moov")),
    "playlist called a film": ("broken", make_box(b"ftyp", b"isom") + b"#EXTM3U\nhttp://x/\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_file_beyond_a_limit_or_broken_is_refused_by_its_code(
    case: str, put: Callable[[bytes], Path]
) -> None:
    code, raw = REFUSED[case]
    with pytest.raises(Uninspectable) as refused:
        inspect(put(raw))
    assert refused.value.code == code


@pytest.mark.parametrize("packet", [LAUGHING, OUTSIDE, DEEP, b"<x", b"\xff\xfe<\0"])
def test_hostile_xmp_is_left_unread_and_told(packet: bytes, put: Callable[[bytes], Path]) -> None:
    shown = inspect(put(add_xmp(packet, "PNG"))).evidence
    assert shown.unreadable == ("xmp",)
    assert not shown.ai_declared


POLYGLOTS = {
    "JPEG and archive": add_xmp(make_xmp(make_element()), "JPEG") + ZIP_TAIL,
    "PNG and page": add_xmp(make_xmp(make_element()), "PNG") + HTML,
    "JPEG and film": add_xmp(make_xmp(make_element()), "JPEG") + film(),
    "WebP and PNG": add_xmp(make_xmp(make_element()), "WEBP") + plain("PNG"),
    "film and JPEG": add_to_moov(
        film(), make_box(b"udta", make_box(b"meta", bytes(4), make_keyed("AIGC", BARE)))
    ) + make_box(b"free", plain("JPEG")),
}  # fmt: skip


@pytest.mark.parametrize("case", POLYGLOTS)
def test_polyglot_is_what_its_first_bytes_say(case: str, put: Callable[[bytes], Path]) -> None:
    shown = inspect(put(POLYGLOTS[case])).evidence
    first = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp", "film": "video/mp4"}
    assert shown.mime == first[case.split(maxsplit=1)[0]]
    assert [one.declaration for one in shown.aigc] == [Declaration.GENERATED]


def test_label_in_a_file_s_second_nature_is_not_the_first_s(put: Callable[[bytes], Path]) -> None:
    shown = inspect(put(plain("PNG") + add_xmp(make_xmp(make_element()), "PNG"))).evidence
    assert (shown.aigc, shown.ai_declared) == ((), False)


def test_picture_of_fifty_million_pixels_is_inspected(largest: Path) -> None:
    with Image.open(largest) as image:
        assert image.width * image.height == PIXELS_MAX
    found = inspect(largest).evidence
    assert (found.mime, len(found.perceptual)) == ("image/png", 1)


def test_decoding_alone_has_the_same_limits(put: Callable[[bytes], Path]) -> None:
    for case in ("pixel bomb", "image beyond 20 MB", "half a PNG", "GIF", "zTXt bomb"):
        with pytest.raises(Uninspectable):
            decode(put(REFUSED[case][1]))
    assert decode(put(plain("PNG"))).size == (400, 300)


def test_inspection_that_takes_too_long_is_ended(largest: Path) -> None:
    with pytest.raises(Uninspectable) as refused:
        inspect(largest, Limits(seconds=0.25))
    assert refused.value.code == "too-slow"
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split()
    inspecting = (Path(f"/proc/{one}/cmdline").read_bytes() for one in children)
    assert not any(b"evidence.child" in command for command in inspecting)


def test_inspection_that_needs_too_much_memory_is_refused(largest: Path) -> None:
    with pytest.raises(Uninspectable) as refused:
        inspect(largest, Limits(memory_bytes=250_000_000))
    assert refused.value.code == "too-much-memory"
    assert inspect(largest, Limits(memory_bytes=800_000_000)).evidence.perceptual


def test_process_that_can_t_even_start_is_one_refusal(put: Callable[[bytes], Path]) -> None:
    with pytest.raises(Uninspectable) as refused:
        inspect(put(plain("PNG")), Limits(memory_bytes=60_000_000))
    assert refused.value.code in {"crashed", "too-much-memory"}


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(Uninspectable):
            inspect(path)
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "gone")


# --- The confinement --------------------------------------------------------------------------

ESCAPES = {
    "a socket": "import socket; socket.socket()",
    "a pair of sockets": "import socket; socket.socketpair()",
    "an address": "import urllib.request as u; u.urlopen('{address}', timeout=5)",
    "a program": "import os; os.execv('/bin/true', ['true'])",
    "a program by spawning": "import os; os.posix_spawn('/bin/true', ['true'], {{}})",
    "the end of another process": "import os; os.kill(os.getppid(), 0)",
    "a large file": "open('{folder}/large', 'wb', 0).write(bytes(70000)) == 70000 or 1/0",
    "much memory": "bytes(900_000_000)",
}


def run_confined(program: str, *, confined: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program after the confinement, or without it."""
    shut = (
        "from ledger_client.evidence.confinement import limit, shut_off\n"
        "limit(20, 800_000_000, 65_536); shut_off()\n"
    )
    command = [sys.executable, "-c", f"{shut if confined else ''}{program}\nprint('escaped')"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("what", ESCAPES)
def test_confined_process_gets_no(what: str, tmp_path: Path) -> None:
    with asked() as (address, paths):
        program = ESCAPES[what].format(address=address, folder=tmp_path)
        refused = run_confined(program)
        assert refused.returncode != 0
        assert "escaped" not in refused.stdout
        assert paths == []
        free = run_confined(program, confined=False)
    assert "escaped" in free.stdout or free.returncode == 0 or paths


def test_confined_library_reaches_no_address_though_it_tries(tmp_path: Path) -> None:
    program = (
        "import c2pa\n"
        "try: c2pa.Reader('image/jpeg', open({path!r}, 'rb'))\n"
        "except c2pa.C2paError as error: print('refused')"
    )
    with asked() as (address, paths):
        path = tmp_path / "remote.jpg"
        path.write_bytes(sign(plain("JPEG"), "image/jpeg", remote=f"{address}/manifest"))
        confined = run_confined(program.format(path=str(path)))
        assert (confined.stdout, paths) == ("refused\nescaped\n", [])
        run_confined(program.format(path=str(path)), confined=False)
        assert paths == ["/manifest"]


# --- The answer -------------------------------------------------------------------------------

SOUND = {
    "sha256": "00" * 32,
    "mime": "image/png",
    "perceptual": [{"forms": ["00" * 32] * 8, "quality": 50}],
    "ai_declared": False,
    "aigc": [],
    "digital_source_type": None,
    "c2pa": "absent",
    "c2pa_source_type": None,
    "software": "none",
    "unreadable": [],
}


TOLD = {
    "place": "xmp",
    "declaration": "generated",
    "raw": "1",
    "producer_class": "none",
    "is_well_formed": True,
}


def answer(**changes: object) -> bytes:
    """Give an answer of the child with something changed."""
    return json.dumps({"inspection": {"evidence": {**SOUND, **changes}, "kept": []}}).encode()


def test_sound_answer_of_the_child_is_taken() -> None:
    assert parse_answer(answer()).evidence.c2pa is C2paState.ABSENT
    told = answer(aigc=[TOLD], unreadable=["exif", "aigc_xmp"], digital_source_type="other")
    assert parse_answer(told).evidence.aigc[0].declaration is Declaration.GENERATED


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[" * 60_000,
        b'{"inspection": null, "refusal": null}',
        answer(sha256="00" * 31),
        answer(sha256="zz" * 32),
        answer(perceptual=[{"forms": ["00" * 32] * 7, "quality": 50}]),
        answer(perceptual=[{"forms": ["00" * 33] * 8, "quality": 50}]),
        answer(c2pa="trusted"),
        answer(mime="a secret"),
        answer(digital_source_type="a secret"),
        answer(c2pa_source_type="a secret"),
        answer(unreadable=["a secret"]),
        answer(aigc=[{**TOLD, "raw": "x" * 17}]),
        answer(ai_declared="perhaps"),
        answer() + b"{}",
    ],
)
def test_answer_that_the_child_never_gives_counts_as_its_breaking_down(raw: bytes) -> None:
    with pytest.raises(Uninspectable) as refused:
        parse_answer(raw)
    assert refused.value.code == "crashed"


def test_missing_extra_is_said_plainly(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.path = [one for one in sys.path if 'site-packages' not in one] + [{kept!r}]\n"
        "from pathlib import Path\n"
        "from ledger_client.errors import MissingExtra\n"
        "from ledger_client.evidence.inspection import inspect\n"
        "try: inspect(Path('x'))\n"
        "except MissingExtra as error: print(error)"
    )
    for name in ("pydantic", "pydantic_core", "annotated_types", "typing_inspection"):
        (tmp_path / name).symlink_to(Path(str(import_module(name).__file__)).parent)
    (tmp_path / "typing_extensions.py").symlink_to(str(typing_extensions.__file__))
    told = run_confined(program.format(kept=str(tmp_path)), confined=False)
    assert "extra `evidence`" in told.stdout, told.stderr
