"""What a database still holds of deleted rows, and how it is made to forget them.

It knows where either engine leaves such bytes: in pages that were freed or moved, in the
write-ahead log, in the planner's samples. It refuses to know what the rows were, and can't reach
backups, archives, replicas and snapshots of the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from ledger.errors import LedgerUnavailable
from ledger.store.engine import take_turn

if TYPE_CHECKING:
    from ledger.store.engine import Connection, Database

# All that erasing a record deletes from or writes over.
_REWRITTEN = (
    *("event_content", "event", "incident", "identifier"),
    *("edge", "posting", "multiplicity"),
    *("separation", "recycling", "marker"),
    *("evidence", "evidence_band", "evidence_match", "recall"),
)
_SAMPLES = "pg_catalog.pg_statistic"
# A name of a setting, what it must be for no segment or row to outlive the procedure, and why.
_HOLDING = {
    "wal_recycle": ("off", "old segments are renamed and kept with what is in them"),
    "wal_keep_size": ("0", "old segments are kept for standbys"),
    "archive_mode": ("off", "segments were copied into an archive, which keeps them"),
}


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What was done, and what keeps deleted bytes all the same: each a sentence.

    *Shape*: `complete` where every step was taken and no setting works against it.
    """

    done: tuple[str, ...]
    left: tuple[str, ...]
    complete: bool = True


def scrub_database(database: Database) -> Scrubbed:
    """Rewrite what deleted rows were stored in, and drop the write-ahead log that wrote them.

    *Raises*: LedgerUnavailable where the database can't be reached or is in use for too long.
    """
    try:
        with take_turn(database), database.engine.connect() as connection:
            # Neither engine runs these statements inside a transaction.
            connection.execution_options(begin="")
            return _scrub_file(connection) if database.embedded else _scrub_server(connection)
    except DBAPIError as error:
        raise LedgerUnavailable("The database can't be scrubbed now.") from error


def _scrub_file(connection: Connection) -> Scrubbed:
    """Scrub an SQLite file: SQLite zeroes what it deletes, but not what it moved before that."""
    connection.exec_driver_sql("VACUUM")
    is_busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    if is_busy:
        raise LedgerUnavailable("The write-ahead log is being read: try again.")
    return Scrubbed(
        ("The file was rewritten and its write-ahead log emptied.",),
        ("Copies and backups of the file, and snapshots of its disk, keep what they hold.",),
    )


def _scrub_server(connection: Connection) -> Scrubbed:
    """Scrub a PostgreSQL database as far as the role may."""
    done: list[str] = []
    left: list[str] = []

    def try_to(told: str, *statements: str) -> None:
        try:
            for statement in statements:
                connection.exec_driver_sql(statement)
        except DBAPIError:
            left.append(f"Not done ({'; '.join(statements)}): {told}.")
        else:
            done.append(f"{told[0].upper()}{told[1:]}.")

    before = _read_files(connection)
    tables = ", ".join(_REWRITTEN)
    try_to("what is stored was compacted", f"VACUUM (FULL, ANALYZE) {tables}")
    try_to("the planner's samples were compacted", f"VACUUM (FULL) {_SAMPLES}")
    # Without the right to it VACUUM passes a table over with a warning: the files tell.
    after = _read_files(connection)
    stayed = sorted(name for name, file in after.items() if before[name] == file)
    if stayed:
        left.append(f"Not rewritten, for want of the right to it: {', '.join(stayed)}.")
    try_to(
        "the write-ahead log before this was given up",
        *("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"),
    )
    for name, (wanted, why) in _HOLDING.items():
        value = connection.exec_driver_sql(f"SHOW {name}").scalar_one()
        if value != wanted:
            left.append(f"{name} is {value}: {why}.")
    slots = connection.exec_driver_sql("SELECT count(*) FROM pg_replication_slots").scalar_one()
    if slots:
        left.append(f"{slots} replication slots keep segments until they are read.")
    always = "Backups, archives, standbys and snapshots of the disk keep what they hold."
    return Scrubbed(tuple(done), (*left, always), complete=not left)


def _read_files(connection: Connection) -> dict[str, int]:
    """Read which file each table that is to be rewritten lies in; rewriting gives it another."""
    names = ", ".join(f"'{name}'::regclass" for name in (*_REWRITTEN, _SAMPLES))
    rows = connection.exec_driver_sql(
        f"SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE oid IN ({names})"  # noqa: S608 - names of ours
    )
    return {row.relname: row.pg_relation_filenode for row in rows}
