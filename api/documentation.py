"""The page that lists the operations, made from the OpenAPI document without any asset.

No script, no font, no address of anybody else: the page's policy lets a browser load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 3rem; }
h3, li, summary { overflow-wrap: anywhere; }
code, pre { font: .875rem/1.5 ui-monospace, monospace; }
h3 code { font-size: 1.0625rem; font-weight: 400; }
nav ul { list-style: none; padding: 0; }
nav a { text-decoration: none; }
nav a:hover, nav a:focus { text-decoration: underline; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8884; border-radius: .375rem; }
article { border-top: 1px solid #8886; margin-top: 1.5rem; }
h3 code:first-child { font-weight: 700; }
.door { opacity: .8; }
li { margin: .25rem 0; }
"""
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
PAGE_POLICY = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)


def render_page(document: dict[str, Any]) -> str:
    """Render an OpenAPI document as one page of HTML."""
    sections: dict[str, list[str]] = {}
    contents = []
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            article = _render_operation(method.upper(), path, described)
            sections.setdefault(described["tags"][0], []).append(article)
            contents.append(_render_link(method.upper(), path, described))
    body = "".join(
        f"<section><h2>{escape(tag)}</h2>{''.join(articles)}</section>"
        for tag, articles in sections.items()
    )
    about = document["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(about['title'])}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(about['title'])}</h1><p>{_render_prose(about['description'])}</p>"
        '<p>The same for programs: <a href="/openapi.json">openapi.json</a></p>'
        f"<nav><ul>{''.join(contents)}</ul></nav>{body}</main></body></html>\n"
    )


def _render_prose(text: str) -> str:
    """Render the Markdown of a description, of which there is code between backticks alone."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _render_link(method: str, path: str, described: dict[str, Any]) -> str:
    return (
        f'<li><a href="#{escape(described["operationId"])}">'
        f"<code>{escape(method)} {escape(path)}</code></a></li>"
    )


def _render_operation(method: str, path: str, described: dict[str, Any]) -> str:
    scopes = [scope for one in described["security"] for scopes in one.values() for scope in scopes]
    door = f"Scope: {', '.join(scopes)}" if scopes else "No access token"
    taken = "".join(
        _render_example("Request", media_type, content)
        for media_type, content in described.get("requestBody", {}).get("content", {}).items()
    )
    replies = "".join(
        f"<li><strong>{escape(status)}</strong> {_render_prose(reply['description'])}</li>"
        for status, reply in described["responses"].items()
    )
    answered = "".join(
        _render_example(f"Answer {status}", media_type, content)
        for status, reply in described["responses"].items()
        for media_type, content in reply.get("content", {}).items()
        if status.startswith("2")
    )
    return (
        f'<article id="{escape(described["operationId"])}">'
        f"<h3><code>{escape(method)}</code> <code>{escape(path)}</code></h3>"
        f"<p>{_render_prose(described['summary'])} "
        f"{_render_prose(described.get('description', ''))}</p>"
        f'<p class="door">{escape(door)}</p>{taken}<ul>{replies}</ul>{answered}</article>'
    )


def _render_example(name: str, media_type: str, content: dict[str, Any]) -> str:
    example = content.get("example")
    if example is None:
        return ""
    text = (
        example if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)
    )
    return (
        f"<details><summary>{escape(name)}, <code>{escape(media_type)}</code></summary>"
        f"<pre>{escape(text)}</pre></details>"
    )
