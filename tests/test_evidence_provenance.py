"""C2PA manifests are judged by their state, offline: signed ones, changed ones, ones elsewhere.

The signatures are real, by certificates of the tests. That nothing is fetched is shown beside a
reader with the library's own defaults, which does ask the address that the file names.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from typing import TYPE_CHECKING

import c2pa
import pytest
from media import add_xmp, film, make_chunk, make_source, plain
from signed_media import sign

from ledger_client.evidence.attributes import C2paState
from ledger_client.evidence.examination import examine
from ledger_client.evidence.inspection import inspect
from ledger_client.evidence.provenance import read_provenance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger_client.evidence.attributes import Evidence

MIMES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


def look(raw: bytes, folder: Path) -> Evidence:
    """Examine bytes in this process, from a file."""
    path = folder / "evidence"
    path.write_bytes(raw)
    with path.open("rb") as file:
        return examine(file, str(path)).evidence


@contextmanager
def asked() -> Iterator[tuple[str, list[str]]]:
    """Serve nothing, and list what is asked for."""
    paths: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        do_POST = do_GET  # noqa: N815 - the server's own names

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", paths
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("form", MIMES)
def test_signed_picture_is_intact_and_tells_its_source(form: str, tmp_path: Path) -> None:
    shown = look(sign(plain(form), MIMES[form]), tmp_path)
    assert (shown.c2pa, shown.c2pa_source_type) == (C2paState.INTACT, "trainedAlgorithmicMedia")
    assert shown.ai_declared
    assert shown.digital_source_type is None


def test_signed_film_is_intact(tmp_path: Path) -> None:
    shown = look(sign(film(), "video/mp4"), tmp_path)
    assert (shown.c2pa, shown.c2pa_source_type) == (C2paState.INTACT, "trainedAlgorithmicMedia")


def test_signed_capture_declares_no_ai(tmp_path: Path) -> None:
    shown = look(sign(plain("JPEG"), "image/jpeg", source="digitalCapture"), tmp_path)
    assert (shown.c2pa, shown.c2pa_source_type) == (C2paState.INTACT, "digitalCapture")
    assert not shown.ai_declared


@pytest.mark.parametrize("form", MIMES)
def test_picture_whose_pixels_were_changed_after_signing_is_tampered(
    form: str, tmp_path: Path
) -> None:
    signed = sign(plain(form), MIMES[form])
    if form == "PNG":  # a chunk more, since a changed pixel is refused by its checksum
        changed = signed[:-12] + make_chunk(b"teSt", b"") + signed[-12:]
    else:
        at = 3000 if form == "WEBP" else len(signed) - 900
        changed = signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]
    shown = look(changed, tmp_path)
    assert (shown.c2pa, shown.c2pa_source_type) == (C2paState.TAMPERED, "trainedAlgorithmicMedia")


def test_claim_that_was_changed_after_signing_is_tampered(tmp_path: Path) -> None:
    signed = sign(plain("JPEG"), "image/jpeg", source="digitalCapture")
    changed = signed.replace(b"type/digitalCapture", b"type/digitalXapture")
    assert changed != signed
    shown = look(changed, tmp_path)
    assert (shown.c2pa, shown.c2pa_source_type) == (C2paState.TAMPERED, "other")


def test_sound_signature_under_an_unsound_claim_is_invalid(tmp_path: Path) -> None:
    signed = sign(plain("JPEG"), "image/jpeg", action="c2pa.opened")  # without what was opened
    assert look(signed, tmp_path).c2pa is C2paState.INVALID


def test_manifest_cut_to_pieces_is_unreadable(tmp_path: Path) -> None:
    signed = sign(plain("PNG"), "image/png")
    at = signed.index(b"caBX")
    length = int.from_bytes(signed[at - 4 : at])
    broken = signed[: at - 4] + make_chunk(b"caBX", bytes(length)) + signed[at + 8 + length :]
    assert look(broken, tmp_path).c2pa is C2paState.UNREADABLE


def test_manifest_elsewhere_is_told_and_not_fetched(tmp_path: Path) -> None:
    with asked() as (address, paths):
        raw = sign(plain("JPEG"), "image/jpeg", remote=f"{address}/manifest.c2pa")
        path = tmp_path / "remote.jpg"
        path.write_bytes(raw)
        assert inspect(path).evidence.c2pa is C2paState.REMOTE
        assert read_provenance(BytesIO(raw), "image/jpeg").state is C2paState.UNREADABLE
        assert paths == []
        with pytest.raises(c2pa.C2paError):
            c2pa.Reader("image/jpeg", BytesIO(raw))  # as the library does by default
        assert paths == ["/manifest.c2pa"]


def test_status_of_a_certificate_is_not_asked_for(tmp_path: Path) -> None:
    with asked() as (address, paths):
        raw = sign(plain("JPEG"), "image/jpeg", ocsp=f"{address}/ocsp")
        assert look(raw, tmp_path).c2pa is C2paState.INTACT
        assert paths == []
        fetching = c2pa.Settings.from_json(json.dumps({"verify": {"ocsp_fetch": True}}))
        c2pa.Reader("image/jpeg", BytesIO(raw), context=c2pa.Context(fetching)).close()
        assert len(paths) == 1


def test_iptc_and_c2pa_are_told_apart(tmp_path: Path) -> None:
    labelled = add_xmp(make_source("digitalCapture"), "JPEG")
    shown = look(sign(labelled, "image/jpeg"), tmp_path)
    assert shown.digital_source_type == "digitalCapture"
    assert shown.c2pa_source_type == "trainedAlgorithmicMedia"
