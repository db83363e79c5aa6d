"""Where these commands lie: in a checkout of the ledger, or alone, installed by a member.

The operator's commands stand on the settings, the migrations and the server, which no wheel holds,
so that they are imported only when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import AskedWrongly

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def is_checkout() -> bool:
    """Tell whether the rest of the ledger stands beside this package."""
    return (ROOT / "migrations" / "HEAD").is_file()


def load_operator(module: str, command: str) -> ModuleType:
    """Import a module that a command of the operator needs. *Raises*: AskedWrongly elsewhere."""
    if not is_checkout():
        raise AskedWrongly(
            f"`{command}` needs a checkout of the ledger: an installed package has the commands "
            "of a member alone."
        )
    return import_module(module)
