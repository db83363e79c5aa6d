"""How a signed checkpoint becomes public: witnesses are heard, and a quorum of them cosigns it.

It knows the order of the steps and what each witness may answer; it doesn't know how they are
reached, which is the caller's `ask`, nor how long anybody waits, which is the caller's `hear`.

What is true when: after the commit that signs, this size has this root for ever, and nobody was
shown it. Witnesses that cosigned it before we die do so again when they are asked again. After the
commit that publishes, a quorum stands under it and members may be shown it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, TypeAlias

from ledger.errors import (
    InvalidNote,
    InvalidProof,
    LedgerCorrupt,
    LedgerError,
    LedgerUnavailable,
    QuorumMissing,
    SizeConflict,
)
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.merkle import EMPTY_ROOT
from ledger.log.witness import AddCheckpoint, open_witnessed, read_cosignature
from ledger.sequencing import check_signed, sign_state
from ledger.store import entries, witnesses
from ledger.store.engine import begin_read, begin_write
from ledger.store.tree_cache import TreeCache
from ledger.store.waiting import announce_publication
from ledger.tiling import read_edge, recall_consistency

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger.log.witness import Witness, WitnessPolicy
    from ledger.store.engine import Connection
    from ledger.store.witnesses import SignedCheckpoint

REFRESH_AFTER = timedelta(hours=1)
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of asking one witness.

    *Shape*: `line` is its cosignature, `size` how many entries it cosigned as far as it said so,
    `fault` why there is no cosignature; `forked` where it holds another root for the same size.
    """

    witness: Witness
    line: str | None
    size: int | None
    fault: str | None = None
    forked: bool = False


# Asks one witness; raises SizeConflict or another LedgerError where it doesn't cosign.
Ask: TypeAlias = "Callable[[Witness, AddCheckpoint], str]"
# Runs what is to be done at once, and gives what comes of it until enough came or time is up.
Hear: TypeAlias = (
    "Callable[[Sequence[Callable[[], Heard]], Callable[[Sequence[Heard]], bool]], list[Heard]]"
)


def check_witnesses(
    ledger: Ledger, at: datetime, ask: Ask, hear: Hear, *, without: Collection[str] = ()
) -> list[Heard]:
    """Ask every witness how far it is, and refuse to go on where one knows what was lost.

    They are shown the checkpoint of the empty log, which every history of this log continues, so
    that nothing is signed that could be regretted, and tell their size by a conflict or by
    cosigning it. Their answers are kept for readiness; those of `without` are forgotten. *Raises*:
    LedgerCorrupt where a witness cosigned what this ledger never signed.
    """
    if ledger.witnesses is None:
        return []
    empty = sign_checkpoint(Checkpoint(ledger.origin, 0, EMPTY_ROOT), ledger.signer)
    body = empty.partition("\n\n")[0] + "\n"

    def probe(witness: Witness) -> Heard:
        try:
            # Any server says 200 of anything; who cosigned nothing yet can cosign this.
            read_cosignature(ask(witness, AddCheckpoint(0, (), empty)), body, witness)
        except SizeConflict as conflict:
            return Heard(witness, None, conflict.size)
        except LedgerError as error:
            return Heard(witness, None, None, error.detail)
        return Heard(witness, None, 0)

    asked = [one for one in ledger.witnesses.witnesses if one.name not in without]
    heard = hear([partial(probe, one) for one in asked], lambda _: False)
    with begin_write(ledger.database) as connection:
        witnesses.forget_sizes(connection, without)
        _keep_sizes(connection, heard, at)
    _refuse_contradiction(ledger, heard)
    return heard


def require_answers(
    policy: WitnessPolicy, heard: Collection[Heard], *, without: Collection[str] = ()
) -> None:
    """Check that enough witnesses told how far they are for anything to be signed.

    Of n groups any n - k + 1 share one with every quorum of k, so that no published checkpoint is
    unknown to all who answered. A group counts once each of its witnesses answered, but for those
    of `without`: any of them may be the one that cosigned. *Raises*: QuorumMissing.
    """
    answered = {one.witness.name for one in heard if one.size is not None} - set(without)
    groups: dict[str, set[str]] = {}
    for one in policy.witnesses:
        names = groups.setdefault(one.group, set())
        if one.name not in without:
            names.add(one.name)
    needed = len(groups) - policy.quorum + 1
    count = sum(bool(names) and names <= answered for names in groups.values())
    if count < needed:
        raise QuorumMissing(
            f"Nothing is signed until {needed} of {len(groups)} groups of witnesses told how far "
            f"they are, and {count} did (docs/operating.md, Restoring a backup).{_tell(heard)}"
        )


def publish_cosigned(
    ledger: Ledger, at: datetime, ask: Ask, hear: Hear, *, without: Collection[str] = ()
) -> list[Heard] | None:
    """Sign the log's present size, collect cosignatures, publish; None where nothing was to do.

    A published size is shown to the witnesses again when its quorum is an hour old, or no quorum
    under the present policy, so that members can tell a quiet log from a stale one.
    *Raises*: QuorumMissing where too few cosigned, which the next call tries again; LedgerCorrupt
    where a witness is ahead of the log or holds another root.
    """
    policy = ledger.witnesses
    if policy is None or not _is_due(ledger, at):
        return None
    with begin_write(ledger.database) as connection:
        state = entries.read_state(connection, lock=True)
        note = sign_state(ledger, connection, state)
        signed = witnesses.find_signed(connection, state.size)
        if signed is None:
            after = ledger.database.cache.signed_size
            signed = witnesses.insert_signed(connection, state.size, note, None, after=after)
        check_signed(signed, note)
    ledger.database.cache.signed_size = state.size
    # Committed: this size has this root for ever, whoever is shown it.
    with begin_read(ledger.database) as connection:
        known = witnesses.select_sizes(connection)
    prove = cache(lambda old: _prove(ledger, old, signed.size))
    asked = [one for one in policy.witnesses if one.name not in without]

    def has_quorum(heard: Sequence[Heard]) -> bool:
        return len({one.witness.group for one in heard if one.line}) >= policy.quorum

    offers = [partial(_offer, signed, one, known.get(one.name, 0), ask, prove, at) for one in asked]
    heard = hear(offers, has_quorum)
    lines = "".join(one.line for one in heard if one.line)
    with begin_write(ledger.database) as connection:
        _keep_sizes(connection, heard, at)
        if has_quorum(heard):
            witnesses.publish_signed(connection, signed.size, lines, signed.published_at or at)
            announce_publication(connection)
    # Committed: with a quorum, members may be shown it; without one, it is as it was.
    _refuse_contradiction(ledger, heard)
    if not has_quorum(heard):
        raise QuorumMissing(f"Too few witnesses cosigned the checkpoint.{_tell(heard)}")
    return heard


def _tell(heard: Iterable[Heard]) -> str:
    return "".join(f" {one.witness.name}: {one.fault}" for one in heard if one.fault)


def _is_due(ledger: Ledger, at: datetime) -> bool:
    """Tell whether the present size is unpublished, or its quorum old or of another policy."""
    with begin_read(ledger.database) as connection:
        size = entries.read_state(connection).size
        found = witnesses.find_signed(connection, size)
    if found is None or found.published_at is None or ledger.witnesses is None:
        return True
    try:
        note = found.note + found.cosignatures
        opened = open_witnessed(note, (ledger.verifier,), ledger.witnesses)
    except InvalidNote:
        return True
    return at.timestamp() - opened.quorum_at > REFRESH_AFTER.total_seconds()


def _prove(ledger: Ledger, old_size: int, size: int) -> tuple[bytes, ...]:
    with begin_read(ledger.database, snapshot=True) as connection:
        nothing_kept = TreeCache()  # the witness is the first to verify it
        edge = read_edge(connection, size)
        return tuple(recall_consistency(connection, nothing_kept, edge, old_size))


def _offer(
    signed: SignedCheckpoint,
    witness: Witness,
    known_size: int,
    ask: Ask,
    prove: Callable[[int], tuple[bytes, ...]],
    at: datetime,
) -> Heard:
    """Show a checkpoint to one witness, once more from its own size where that is another."""
    body = signed.note.partition("\n\n")[0] + "\n"
    old_size = min(known_size, signed.size)
    for is_last in (False, True):
        try:
            proof = prove(old_size) if 0 < old_size < signed.size else ()
            answer = ask(witness, AddCheckpoint(old_size, proof, signed.note))
            line, cosigned_at = read_cosignature(answer, body, witness)
        except SizeConflict as conflict:
            if conflict.size == old_size:
                is_fork = old_size == signed.size
                return Heard(witness, None, None, conflict.detail, forked=is_fork)
            if is_last or conflict.size > signed.size:
                return Heard(witness, None, conflict.size, "it stands at another size.")
            old_size = conflict.size
        except LedgerError as error:
            # Nothing was to be proved where the sizes are equal: some say so of another root.
            is_fork = isinstance(error, InvalidProof) and old_size == signed.size
            return Heard(witness, None, None, error.detail, forked=is_fork)
        else:
            if abs(cosigned_at - at.timestamp()) > _CLOCK_SKEW.total_seconds():
                return Heard(witness, None, signed.size, "its clock is wrong.")
            return Heard(witness, line, signed.size)
    raise LedgerUnavailable("The witness gave no answer.")


def _keep_sizes(connection: Connection, heard: Iterable[Heard], at: datetime) -> None:
    told = {one.witness.name: one.size for one in heard if one.size is not None}
    witnesses.replace_sizes(connection, told, at)


def _refuse_contradiction(ledger: Ledger, heard: Iterable[Heard]) -> None:
    """Refuse to go on where a witness knows a history that isn't this log's.

    A log that was set back may have grown beyond what it lost: what tells is that each size was
    signed before any witness saw it. Those are read after the answers, among them what another
    worker of this ledger signed. *Raises*: LedgerCorrupt.
    """
    with begin_read(ledger.database) as connection:
        unsigned = witnesses.select_unsigned(connection)
        size = entries.read_state(connection).size
    for one in heard:
        if one.forked:
            raise LedgerCorrupt(
                f"The witness {one.witness.name} cosigned another root for {size} entries. "
                "Nothing more is signed (docs/operating.md, Restoring a backup)."
            )
        if one.witness.name in unsigned:
            raise LedgerCorrupt(
                f"The witness {one.witness.name} cosigned {unsigned[one.witness.name]} entries, "
                f"which this ledger never signed; its log has {size}. It was restored from an old "
                "backup, or the witness is wrong. Nothing more is signed (docs/operating.md, "
                "Restoring a backup)."
            )
