"""The only reader of the environment: one frozen dataclass, all faults at once.

`python -m config.settings` prints docs/settings.md, which a test compares with the file.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PREFIX = "BCL_"
_PORT_MAX = 65_535
CONFIG_FOLDER = Path(__file__).parent
KEYS_FOLDER = "keys"  # of a sandbox, beside its database


class SettingsError(Exception):
    """Every fault of the environment, by name; never a value."""

    def __init__(self, faults: list[str]) -> None:
        """Keep the faults as sentences."""
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def _setting(help_text: str, *, default: Any, secret: bool = False) -> Any:  # noqa: ANN401
    return field(default=default, repr=not secret, metadata={"help": help_text, "secret": secret})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process needs to know about where it runs. Secrets are text, as they were given."""

    env: str = _setting("development or production", default="development")
    database_url: str = _setting(
        "sqlite:///PATH or postgresql+psycopg://…", default="sqlite:///var/ledger.sqlite"
    )
    public_url: str = _setting(
        "where members reach this server; the ledger's issuer when empty", default=""
    )
    host: str = _setting("address to listen on", default="127.0.0.1")
    port: int = _setting("port to listen on", default=8080)
    workers: int = _setting("server processes (SQLite: 1 is best)", default=1)
    body_max_bytes: int = _setting("largest request body but for batches (4 MiB)", default=65_536)
    sequence_interval_seconds: float = _setting("how often the worker looks for work", default=0.1)
    witness_policy: str = _setting(
        "path of the file that names the witnesses; none are asked when empty", default=""
    )
    witness_timeout_seconds: float = _setting("how long witnesses are waited for", default=5.0)
    log_key: str = _setting("Ed25519 seed of the log, base64url", default="", secret=True)
    event_key: str = _setting(
        "private JWK for the ledger's own statements", default="", secret=True
    )
    access_key: str = _setting("private JWK for access tokens", default="", secret=True)
    wrap_key: str = _setting(
        "32 bytes base64url that wrap the keys of sealed tokens", default="", secret=True
    )
    index_key: str = _setting("32 bytes base64url that make lookup keys", default="", secret=True)
    tag_key: str = _setting(
        "32 bytes base64url that tag the ledger's own entries", default="", secret=True
    )
    development_keys: bool = _setting(
        "whether the keys were made by `bcl serve` for a sandbox", default=False
    )

    def require_keys(self) -> dict[str, str]:
        """Give the six secrets by name. *Raises*: SettingsError naming all that are missing."""
        keys = {one.name: getattr(self, one.name) for one in fields(self) if _is_secret(one)}
        missing = [name for name, value in keys.items() if not value]
        if missing:
            raise SettingsError(
                [f"{_PREFIX}{name.upper()} (or its _FILE) is missing." for name in missing]
            )
        return keys

    def read_witness_policy(self) -> str | None:
        """Read the file that names the witnesses, if there is one. *Raises*: SettingsError."""
        if not self.witness_policy:
            return None
        try:
            return Path(self.witness_policy).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise SettingsError(
                [f"{_PREFIX}WITNESS_POLICY names a file that can't be read."]
            ) from error


def _is_secret(one: Any) -> bool:  # noqa: ANN401 - a dataclass field
    return bool(one.metadata["secret"])


def load_settings(environment: Mapping[str, str], read_file: Callable[[str], str]) -> Settings:
    """Read the settings from a mapping; a secret may also come from a file.

    *Raises*: SettingsError with every fault at once: unknown names, wrong types, secrets given
    twice, files that can't be read, development keys in production.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    known = {f"{_PREFIX}{one.name.upper()}": one for one in fields(Settings)}
    given = {name: text for name, text in environment.items() if name.startswith(_PREFIX)}
    for name, text in given.items():
        if name in known:
            values[known[name].name] = _convert(name, text, known[name].type, faults)
            continue
        one = known.get(name.removesuffix("_FILE"))
        if one is None or not _is_secret(one):
            faults.append(f"{name} is no setting.")
        elif name.removesuffix("_FILE") in given:
            faults.append(f"{name} and its plain form are both set.")
        else:
            try:
                values[one.name] = read_file(text).strip()
            except (OSError, ValueError):  # or its bytes aren't text
                faults.append(f"{name} names a file that can't be read.")
    settings = Settings(**{name: value for name, value in values.items() if value is not None})
    faults += _judge(settings)
    if faults:
        raise SettingsError(faults)
    return settings


def _convert(name: str, text: str, kind: Any, faults: list[str]) -> Any:  # noqa: ANN401
    kind = kind if isinstance(kind, str) else kind.__name__
    if kind == "bool":
        if text in {"true", "false"}:
            return text == "true"
        faults.append(f"{name} must be true or false.")
        return None
    try:
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:
        faults.append(f"{name} must be a number.")
        return None


def _judge(settings: Settings) -> list[str]:
    faults = []
    if settings.env not in {"development", "production"}:
        faults.append("BCL_ENV must be development or production.")
    if not settings.database_url.startswith(("sqlite:///", "postgresql+psycopg://")):
        faults.append("BCL_DATABASE_URL must start with sqlite:/// or postgresql+psycopg://.")
    if settings.env == "production" and settings.development_keys:
        faults.append("Development keys are refused in production.")
    if settings.public_url and not settings.public_url.startswith(("http://", "https://")):
        faults.append("BCL_PUBLIC_URL must be an http or https URL.")
    numbers = (
        "port",
        "workers",
        "body_max_bytes",
        "sequence_interval_seconds",
        "witness_timeout_seconds",
    )
    faults += [
        f"{_PREFIX}{name.upper()} must be a positive number."
        for name in numbers
        if not 0 < getattr(settings, name) < math.inf
    ]
    if settings.port > _PORT_MAX:
        faults.append(f"BCL_PORT must be at most {_PORT_MAX}.")
    return faults


def read_environment(folder: Path | None = None) -> dict[str, str]:
    """Give this process's environment, completed by the sandbox that a folder holds.

    Where any secret is set, or there is no sandbox, the environment stands as it is.
    """
    secrets = [f"{_PREFIX}{one.name.upper()}" for one in fields(Settings) if _is_secret(one)]
    is_given = any(name in os.environ or f"{name}_FILE" in os.environ for name in secrets)
    if folder is None or is_given or not (folder / KEYS_FOLDER).is_dir():
        return dict(os.environ)
    home = folder.resolve()
    completed = {
        f"{name}_FILE": str(home / KEYS_FOLDER / name.removeprefix(_PREFIX).lower())
        for name in secrets
    }
    completed["BCL_DEVELOPMENT_KEYS"] = "true"
    completed["BCL_DATABASE_URL"] = f"sqlite:///{home / 'ledger.sqlite'}"
    return {**completed, **os.environ}


def environment_with(changes: Mapping[str, str]) -> dict[str, str]:
    """Give this process's environment with some variables set, for a child process."""
    return {**os.environ, **changes}


def load_environment(folder: Path | None = None) -> Settings:
    """Read the settings of this process, or of a folder's sandbox. *Raises*: SettingsError."""
    return load_settings(
        read_environment(folder), lambda path: Path(path).read_text(encoding="utf-8")
    )


def read_config(name: str) -> str:
    """Read a data file that stands beside this module."""
    return (CONFIG_FOLDER / name).read_text(encoding="utf-8")


def render_documentation() -> str:
    """Render docs/settings.md from the dataclass."""
    lines = [
        "# Settings",
        "",
        "Read from the environment once, at start; all faults are reported together and unknown",
        "`BCL_` names are faults. Every secret can also be given as a file, by its name with",
        "`_FILE`. Made by `python -m config.settings`.",
        "",
        "| Name | Default | What |",
        "|---|---|---|",
    ]
    for one in fields(Settings):
        name = f"`{_PREFIX}{one.name.upper()}`"
        if _is_secret(one):
            name += f", `{_PREFIX}{one.name.upper()}_FILE`"
        default = "–" if one.default == "" else f"`{str(one.default).lower()}`"
        if isinstance(one.default, str) and one.default:
            default = f"`{one.default}`"
        lines.append(f"| {name} | {default} | {one.metadata['help']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render_documentation(), end="")  # noqa: T201 - this is how the page is made
