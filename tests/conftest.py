"""What every test stands on: migrated databases of both kinds, a ledger, platforms with real keys.

Schemas come from the migrations alone. Each test gets a database of its own, copied from one that
was migrated once per process, so that tests may run side by side. All of it lies in memory where
there is room: what a power cut would lose need not be kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from hypothesis import settings
from postgres import run_postgres
from reports import NOW
from simulator import Simulator, create_keys

from ledger.creating import create_ledger
from ledger.ledger import open_ledger
from ledger.rights.jurisdiction import parse_profiles
from ledger.store.engine import open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from typing import Any

    from ledger.ledger import Ledger, LedgerKeys
    from ledger.rights.jurisdiction import JurisdictionProfile

ROOT = Path(__file__).parent.parent
ORIGIN = "ledger.example/sandbox"
BACKENDS = ("sqlite", "postgresql")
_NUMBERS = count(1)
_ROOM_BYTES = 2 << 30  # some five times what two workers take

# A busy machine is no failure: what a test may take is bounded by its number of examples.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def prefer_memory(usual: str = "/tmp", memory: str = "/dev/shm") -> None:  # noqa: S108 - names only
    """Move temporary files into memory, unless a place was chosen for them or it has no room."""
    if tempfile.gettempdir() != usual or not os.access(memory, os.W_OK | os.X_OK):
        return
    if shutil.disk_usage(memory).free > _ROOM_BYTES:
        tempfile.tempdir = memory


prefer_memory()  # before pytest and PostgreSQL ask for a folder


def migration_config() -> Config:
    """Give Alembic's configuration without any ini file."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config


def migrate(url: str, revision: str = "head", *, down: bool = False) -> None:
    """Bring a database to a revision, up or down, by the migrations alone."""
    database = open_database(url)
    config = migration_config()
    verb = command.downgrade if down or revision == "base" else command.upgrade
    try:
        with database.engine.connect() as connection, connection.begin():
            config.attributes["connection"] = connection
            verb(config, revision)
    finally:
        database.engine.dispose()


@pytest.fixture(scope="session")
def postgres_address() -> Iterator[str]:
    """Give the address of a running PostgreSQL, to be formatted with a database's name."""
    with run_postgres() as address:
        yield address


@pytest.fixture(scope="session")
def postgres_admin(postgres_address: str) -> Iterator[psycopg.Connection[Any]]:
    """Give the connection that makes and drops databases."""
    address = postgres_address.format("postgres").replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def postgres_migrated(postgres_address: str, postgres_admin: psycopg.Connection[Any]) -> str:
    """Give the name of a migrated database that is only ever copied."""
    postgres_admin.execute("CREATE DATABASE migrated")
    migrate(postgres_address.format("migrated"))
    return "migrated"


@pytest.fixture(scope="session")
def postgres_founded(
    postgres_address: str,
    postgres_admin: psycopg.Connection[Any],
    postgres_migrated: str,
    create_sandbox: Callable[[str], None],
) -> str:
    """Give the name of a database with a sandbox ledger that is only ever copied."""
    postgres_admin.execute(f"CREATE DATABASE founded TEMPLATE {postgres_migrated}")
    create_sandbox(postgres_address.format("founded"))
    return "founded"


@pytest.fixture(scope="session")
def sqlite_migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a migrated SQLite file that is only ever copied."""
    path = tmp_path_factory.mktemp("template") / "migrated.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def sqlite_founded(sqlite_migrated: Path, create_sandbox: Callable[[str], None]) -> Path:
    """Give an SQLite file with a sandbox ledger that is only ever copied."""
    path = sqlite_migrated.with_name("founded.sqlite3")
    shutil.copyfile(sqlite_migrated, path)
    create_sandbox(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def create_sandbox(
    keys: LedgerKeys, profiles: Mapping[str, JurisdictionProfile], policy_text: str
) -> Callable[[str], None]:
    """Give a function that creates a sandbox ledger in a migrated database."""
    return lambda url: create_ledger(
        url,
        keys,
        profiles,
        origin=ORIGIN,
        jurisdiction="SANDBOX",
        policy_text=policy_text,
        at=NOW,
    )


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Name the kind of database that the test runs on."""
    return str(request.param)


@contextmanager
def clone_database(
    backend: str, request: pytest.FixtureRequest, folder: Path, state: str | None = "migrated"
) -> Iterator[str]:
    """Give the address of a database of one's own: "migrated", "founded" or without any table."""
    if backend == "sqlite":
        path = folder / "ledger.sqlite3"
        if state:
            shutil.copyfile(request.getfixturevalue(f"sqlite_{state}"), path)
        yield f"sqlite:///{path}"
        return
    address = request.getfixturevalue("postgres_address")
    admin = request.getfixturevalue("postgres_admin")
    name = f"test_{next(_NUMBERS)}"
    origin = request.getfixturevalue(f"postgres_{state}") if state else "template0"
    admin.execute(f"CREATE DATABASE {name} TEMPLATE {origin} STRATEGY FILE_COPY")
    try:
        yield address.format(name)
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def founded(
    url: str,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    policy_text: str,
    at: datetime,
    jurisdiction: str = "SANDBOX",
) -> Iterator[Ledger]:
    """Create a ledger in a migrated database, and open it for the length of the block."""
    create_ledger(
        url,
        keys,
        profiles,
        origin=ORIGIN,
        jurisdiction=jurisdiction,
        policy_text=policy_text,
        at=at,
    )
    with opened(url, keys, profiles) as ledger:
        yield ledger


@contextmanager
def opened(
    url: str, keys: LedgerKeys, profiles: Mapping[str, JurisdictionProfile]
) -> Iterator[Ledger]:
    """Open the ledger of a database for the length of the block."""
    ledger = open_ledger(url, keys, profiles)
    try:
        yield ledger
    finally:
        ledger.database.engine.dispose()


@pytest.fixture
def empty_database_url(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """Give the address of a database without any table."""
    with clone_database(backend, request, tmp_path, None) as url:
        yield url


@pytest.fixture
def database_url(
    backend: str, request: pytest.FixtureRequest, tmp_path: Path, now: datetime
) -> Iterator[str]:
    """Give the address of a fresh, migrated database on each kind of database in turn.

    Where the test asks for `ledger` and doesn't go by another clock, there is one in it.
    """
    state = "founded" if "ledger" in request.fixturenames and now == NOW else "migrated"
    with clone_database(backend, request, tmp_path, state) as url:
        yield url


@pytest.fixture
def now() -> datetime:
    """Give the instant at which tests take place."""
    return NOW


@pytest.fixture(scope="session")
def profiles() -> Mapping[str, JurisdictionProfile]:
    """Give the jurisdiction profiles as shipped."""
    return parse_profiles((ROOT / "config" / "jurisdictions.toml").read_text("utf-8"))


@pytest.fixture(scope="session")
def policy_text() -> str:
    """Give the scoring policy as shipped."""
    return (ROOT / "config" / "policy.toml").read_text("utf-8")


@pytest.fixture(scope="session")
def keys() -> LedgerKeys:
    """Give fresh secrets of a ledger."""
    return create_keys()


@pytest.fixture
def found_ledger(
    database_url: str,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    policy_text: str,
    now: datetime,
) -> Iterator[Callable[[str], Ledger]]:
    """Give a function that creates and opens a ledger of a jurisdiction in the test's database."""
    with ExitStack() as opened:
        yield lambda jurisdiction: opened.enter_context(
            founded(database_url, keys, profiles, policy_text, now, jurisdiction)
        )


@pytest.fixture
def ledger(
    found_ledger: Callable[[str], Ledger],
    database_url: str,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    now: datetime,
) -> Iterator[Ledger]:
    """Give a sandbox ledger that was just created."""
    if now != NOW:
        yield found_ledger("SANDBOX")
        return
    with opened(database_url, keys, profiles) as ledger:
        yield ledger


@pytest.fixture
def simulator(ledger: Ledger, now: datetime) -> Callable[..., Simulator]:
    """Give a function that enrols one more platform, `simulator("shop-a")`."""

    def enrol(name: str, **traits: Any) -> Simulator:
        platform = Simulator(ledger, name, **traits)
        platform.enrol(now)
        return platform

    return enrol
