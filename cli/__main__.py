"""`python -m cli` is `bcl`."""

from __future__ import annotations

from cli.main import main

main(prog_name="bcl")
