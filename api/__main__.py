"""`python -m api > openapi.json` writes the description of the API."""

from __future__ import annotations

import sys

from api.app import OPERATIONS
from api.openapi import render_bytes, render_document

sys.stdout.buffer.write(render_bytes(render_document(OPERATIONS)))
