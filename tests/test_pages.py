"""The page at /docs in a real browser: nothing fails, nobody else is asked, it fits, it is text.

Chromium writes down what it requests and what pages log; a wrapper page of the test measures the
page in frames of several widths. Each check is shown to see a planted fault. Without Chromium on
PATH those tests are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest

from api.app import OPERATIONS, create_app
from api.documentation import render_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from ledger.ledger import Ledger

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
)
WIDTHS = (1280, 390)
FAULTY = (
    "<!doctype html><title>x</title><div style='width: 2000px'>wide</div>"
    "<img src='http://elsewhere.test/x.png'><script>console.error('planted')</script>"
)
MEASURE = """<!doctype html><title>x</title><body><script>
onload = () => { for (const frame of document.querySelectorAll("iframe")) {
  const page = frame.contentDocument;
  for (const one of page.querySelectorAll("details")) one.open = true;
  const line = document.createElement("p");
  line.textContent = ["measured", frame.name, frame.clientWidth,
    page.documentElement.scrollWidth, page.documentElement.clientWidth,
    page.querySelectorAll("article").length].join(" ");
  document.body.append(line);
} };
</script>"""

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
in_browser = pytest.mark.skipif(BROWSER is None, reason="Chromium isn't on PATH")


class Quiet(WSGIRequestHandler):
    """A server that says nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@dataclass(frozen=True)
class Site:
    """The application at a loopback address, with pages of the test's own, and who asked what."""

    origin: str
    asked: list[str]
    extra: dict[str, str]


@pytest.fixture
def site(ledger: Ledger) -> Iterator[Site]:
    """Serve the real application."""
    app = create_app(ledger, public_url=ledger.issuer, body_max_bytes=65_536)
    asked: list[str] = []
    extra = {"/faulty": FAULTY}

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ["PATH_INFO"])
        asked.append(path)
        if path in extra:
            start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
            return [extra[path].encode()]
        return app.wsgi_app(environ, start_response)

    with serve(answer) as port:
        yield Site(f"http://127.0.0.1:{port}", asked, extra)


@contextmanager
def serve(app: WSGIApplication) -> Iterator[int]:
    """Serve an application on a free port until the block ends."""
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page: its document, its log, and what the page asked for."""

    document: str
    logged: list[str]
    requested: set[str]


def visit(url: str, folder: Path) -> Visit:
    """Open a page in a browser that can reach nobody but this machine."""
    network = folder / "network.json"
    ended = subprocess.run(
        [
            str(BROWSER),
            *FLAGS,
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={network}",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        timeout=60,
        check=True,
    )
    logged = [line for line in ended.stderr.decode().splitlines() if ":CONSOLE" in line]
    origin = "/".join(url.split("/")[:3])
    return Visit(ended.stdout.decode(), logged, set(requests_of(network, origin)))


def requests_of(network: Path, origin: str) -> Iterator[str]:
    """Read from a browser's log what pages of an origin asked for, beside what it does itself."""
    for event in json.loads(network.read_text("utf-8"))["events"]:
        described = event.get("params", {})
        if described.get("initiator") == origin and "url" in described:
            yield described["url"]


class Words(HTMLParser):
    """The visible words of a page, and the tags and attributes that would act or load."""

    def __init__(self, page: str) -> None:
        """Read a page."""
        super().__init__()
        self.words: list[str] = []
        self.acting: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what isn't plain text."""
        if tag in {"script", "link", "img", "iframe", "object", "embed", "video", "audio"}:
            self.acting.append(tag)
        self.acting += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        """Note words."""
        self.words += data.split()


@in_browser
def test_page_loads_without_a_complaint_and_asks_nobody_else(site: Site, tmp_path: Path) -> None:
    seen = visit(f"{site.origin}/docs", tmp_path)
    assert "Buyer Credit Ledger</h1>" in seen.document
    assert seen.logged == [], "the page's policy and the page agree"
    assert seen.requested <= {f"{site.origin}/favicon.ico"}
    assert set(site.asked) <= {"/docs", "/favicon.ico"}
    planted = visit(f"{site.origin}/faulty", tmp_path)
    assert [line for line in planted.logged if "planted" in line]
    assert "http://elsewhere.test/x.png" in planted.requested


@in_browser
def test_page_fits_wide_and_narrow_screens_with_every_example_open(
    site: Site, tmp_path: Path
) -> None:
    page = visit(f"{site.origin}/docs", tmp_path).document
    frames = [
        f'<iframe name="{name}" src="/{name}" width="{width}" height="800" frameborder="0">'
        "</iframe>"
        for name in ("copy", "faulty")
        for width in WIDTHS
    ]
    site.extra["/copy"] = page  # the page itself refuses to be framed
    site.extra["/wrapper"] = MEASURE + "".join(frames)
    wrapped = visit(f"{site.origin}/wrapper", tmp_path).document
    lines = re.findall(r"measured (\w+) (\d+) (\d+) (\d+) (\d+)", wrapped)
    measured = {(name, int(width)): tuple(map(int, rest)) for name, width, *rest in lines}
    assert len(measured) == len(frames)
    for width in WIDTHS:
        scrolled, shown, articles = measured["copy", width]
        assert scrolled <= shown <= width
        assert articles == len(OPERATIONS)
        scrolled, shown, _ = measured["faulty", width]
        assert scrolled > shown


def test_page_is_readable_without_script(site: Site) -> None:
    page = httpx.get(f"{site.origin}/docs").text
    read = Words(page)
    assert read.acting == []
    for one in OPERATIONS:
        assert one.path.replace("{+", "{") in read.words
        assert f'href="#{one.name}"' in page
        assert f'id="{one.name}"' in page
    assert Words(FAULTY).acting == ["style", "img", "script"]


def test_what_a_description_has_between_backticks_is_code_and_nothing_else_is(site: Site) -> None:
    page = httpx.get(f"{site.origin}/docs").text
    prose = re.sub(r"(?s)<pre>.*?</pre>", "", page)
    assert "`" not in prose
    assert "With <code>Accept: application/jwt</code> the answer is" in prose
    told = "Take `a<b`, `&` or ` alone, not ``"
    reply = {"200": {"description": told}}
    one = {"summary": told, "description": told, "operationId": "x", "tags": ["y"], "security": []}
    about = {"title": "z", "description": told}
    planted = render_page({"info": about, "paths": {"/": {"get": one | {"responses": reply}}}})
    rendered = "Take <code>a&lt;b</code>, <code>&amp;</code> or ` alone, not ``"
    assert planted.count(rendered) == 4
    assert "`a" not in planted
