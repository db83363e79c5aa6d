"""What docs/format.md says of a platform's statements: members, examples, and what an entry shows.

Every example is compared with its published members and with the schema, parsed into what it
reads as, and sent in order to a ledger, whose entries must be as the page tells.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from test_format import (
    STATED,
    example,
    members,
    payload,
    plain,
    published_members,
    section,
    sign,
    tables,
    values,
    words,
)

from ledger import reporting
from ledger.errors import SchemaViolation
from ledger.graph.link import Presented, bind_claims, split_claims
from ledger.identity.identifier import Binding, Bucket, Kind, parse_identifier
from ledger.identity.token import EVENT_TYPE
from ledger.incident import schema, statement
from ledger.incident.incident import IncidentReport
from ledger.incident.rendering import render_event
from ledger.log.leaf import NO_REF, Op, parse_leaf
from ledger.store import entries, incidents
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator import Simulator

    from ledger.ledger import Ledger

EVERY = set(schema.EventMembers.model_fields)


class Said(NamedTuple):
    """How the code takes an event: its type, its members, and what it is parsed into."""

    uri: str
    model: type[schema.EventMembers]
    parsed: type[object]
    elsewhere: set[str] = EVERY  # members that other tables of the page explain


SAID = {
    "refund-incident-confirmed": Said(statement.CONFIRMED, schema.Confirmed, IncidentReport),
    "refund-incident-corrected": Said(
        *(statement.CORRECTED, schema.Corrected, statement.Correction),
        elsewhere={path for path, *_ in members(schema.Confirmed)},
    ),
    "refund-incident-restituted": Said(
        statement.RESTITUTED, schema.Restituted, statement.Restitution
    ),
    "accounts-unlinked": Said(statement.UNLINKED, schema.Unlinked, statement.Unlinking),
    "identifier-recycled": Said(statement.RECYCLED, schema.Recycled, statement.Recycling),
    "protective-marker-set": Said(statement.MARKED, schema.Marked, statement.Marking),
    "forged-evidence-seen": Said(
        *(statement.EVIDENCE_SEEN, schema.ForgedSeen, statement.Forgery),
        elsewhere=EVERY | {path for path, *_ in members(schema.ForgedSeen) if "." in path},
    ),
    "forged-evidence-withdrawn": Said(
        statement.EVIDENCE_WITHDRAWN, schema.ForgedWithdrawn, statement.Withdrawal
    ),
    "refund-incident-retracted": Said(statement.RETRACTED, schema.Retracted, statement.Retraction),
    "erasure-acknowledged": Said(
        statement.ACKNOWLEDGED, schema.Acknowledged, statement.Acknowledgement
    ),
}


def paths(value: object, prefix: str = "") -> Iterator[str]:
    """Give the path of every member that an example shows, as the tables write it."""
    if isinstance(value, list):
        for one in value:
            yield from paths(one, f"{prefix}[]")
    if isinstance(value, dict):
        for name, inner in value.items():
            path = f"{prefix}.*" if prefix == "bindings" else f"{prefix}.{name}".lstrip(".")
            yield path
            yield from paths(inner, path)


# --- Members and examples -------------------------------------------------------------------


def test_every_event_that_a_platform_may_send_is_published() -> None:
    assert {one.uri for one in SAID.values()} == set(statement._FORMS)
    assert tuple(SAID) == STATED


@pytest.mark.parametrize("name", STATED)
def test_members_are_those_of_the_schema_and_the_section_names_the_event(name: str) -> None:
    said = SAID[name]
    described = list(members(said.model))
    expected = {path: needed for path, _, needed in described if path not in said.elsewhere}
    assert published_members(name) == expected
    assert f"`{said.uri}`" in section(name)


@pytest.mark.parametrize("name", ["accounts-unlinked", "protective-marker-set"])
def test_words_are_told_beside_their_member(name: str) -> None:
    told = {plain(path): set(re.findall("`(.*?)`", cell)) for path, _, cell in tables(name)[0]}
    for path, annotation, _ in members(SAID[name].model):
        if path not in EVERY and len(words(annotation)) > 1:
            assert set(words(annotation)) <= told[path]


@pytest.mark.parametrize("name", STATED)
def test_example_shows_every_member_that_there_is(name: str) -> None:
    claims = example(name)
    assert set(claims["events"]) == {SAID[name].uri}
    shown = set(paths(claims["events"][SAID[name].uri]))
    either = {"proofs[].nid"}  # or a live check, which the example shows
    assert published_members(name).keys() - either <= shown
    if issubclass(SAID[name].model, schema.Confirmed):
        published = published_members("refund-incident-confirmed").keys()
        assert published | EVERY <= shown
    if name == STATED[0]:
        assert published_members("Claims").keys() <= set(paths(claims))


@pytest.mark.parametrize("name", STATED)
def test_example_is_parsed_as_it_reads(name: str) -> None:
    parsed = statement.parse_event(payload(name))
    assert type(parsed) is SAID[name].parsed
    shown = example(name)
    event = shown["events"][SAID[name].uri]
    again: Any = render_event(parsed, shown["aud"])
    (rendered,) = again.pop("events").values()
    assert again == {claim: value for claim, value in shown.items() if claim != "events"}
    assert rendered == {member: value for member, value in event.items() if member in rendered}
    assert event.keys() - rendered.keys() <= EVERY


def test_limits_are_those_of_the_code() -> None:
    marker = " ".join(section("protective-marker-set").split())
    assert f"by at most {statement.MARKER_DAYS_MAX} days" in marker
    assert f"at most {schema.MARKED_INCIDENTS_MAX} of text" in marker
    assert "`sub_id` is that one identifier" in section("identifier-recycled")
    opaque = {f"sub_id.{name}" for name in schema.Opaque.__slots__} | {"sub_id"}
    shown = {path for path in paths(example("identifier-recycled")) if path.startswith("sub_id")}
    assert shown == opaque


# --- A ledger that takes the examples -------------------------------------------------------


@pytest.fixture
def backend() -> str:
    """Name the one kind of database that is enough here: bytes don't depend on it."""
    return "sqlite"


def send(ledger: Ledger, shop: Simulator, name: str) -> reporting.Accepted:
    """Send an example when it says that it was signed."""
    claims = example(name)
    said = sign(claims, shop.private_jwk, EVENT_TYPE)
    return reporting.accept_event(ledger, said, datetime.fromtimestamp(claims["iat"], UTC))


def test_examples_become_the_published_ops_and_refs(
    ledger: Ledger, simulator: Callable[..., Simulator]
) -> None:
    shop, told, masses = simulator("shop-a"), [], []
    reported = ""
    for name in STATED:
        accepted = send(ledger, shop, name)
        reported = reported or accepted.incident_id or ""
        claims = example(name)
        with begin_read(ledger.database) as connection:
            stored = entries.find_event(connection, 1, claims["jti"])
            known = incidents.find_incident(connection, reported)
        assert stored is not None
        assert known is not None
        masses.append(known.mass)
        aliases = claims["sub_id"].get("identifiers", ())
        subjects = ("an identifier", "an account", "an account and identifiers")
        subject = subjects[min(2, len(aliases))]
        subject = "a report" if name == "erasure-acknowledged" else subject
        subject = "a SHA-256" if name.startswith("forged-evidence") else subject
        about = "yes" if accepted.incident_id else ""
        told.append([f"`{name}`", str(stored.op), subject, about])
    shown = next(one for one in tables("Events of platforms") if len(one[0]) == len(told[0]))
    assert sorted(shown) == sorted(told)
    # A series of three, then of two, then made good, then waived by the marker.
    assert masses == [one * masses[2] for one in (3, 2, 1, 1, 1, 0, 0, 0, 0, 0)]
    with begin_read(ledger.database) as connection:
        leaves = [parse_leaf(entry) for _, entry, _ in entries.stream_entries(connection)]
    report = next(place for place, one in enumerate(leaves) if one.op is Op.INCIDENT_CONFIRMED)
    acting = {Op.ACTIVATED, Op.CORRECTED, Op.RESTITUTED, Op.RETRACTED, Op.ERASURE_ACKNOWLEDGED}
    seen = next(place for place, one in enumerate(leaves) if one.op is Op.EVIDENCE_SEEN)
    refs = dict.fromkeys(acting, report) | {Op.EVIDENCE_WITHDRAWN: seen}
    assert [one.ref for one in leaves] == [refs.get(one.op, NO_REF) for one in leaves]
    assert {one.policy_version for one in leaves} == {1}  # the first one publishes it
    assert leaves[0].op is Op.POLICY_PUBLISHED


def test_what_an_order_is_bound_to_has_the_published_bytes() -> None:
    shown = values("Example: identifiers")
    bytes_of = next(one for one in tables("Identifiers") if one[0][-1] == "lookup key")
    layout = [(int(at), int(length)) for at, length, _ in bytes_of]
    assert layout == [(0, 16), (16, 1), (17, 1), (18, 1)]
    for words_of, row in ((Binding, bytes_of[2]), (Bucket, bytes_of[3])):
        codes = {word: int(code) for word, code in re.findall(r"`(\S+)` (\d)", row[2])}
        assert codes == {one.value: one.code for one in words_of}
    assert [kind.code for kind in Kind] == list(range(1, 7))
    presented = Presented(
        bytes.fromhex(shown["lookup key"]),
        parse_identifier(shown["identifier"]).kind.code,
        Binding(shown["binding"]).code,
        Bucket(shown["accounts here"]).code,
    )
    bound = bind_claims((presented,))
    assert (len(bound), bound.hex()) == (19, shown["bound"])
    assert split_claims(bound) == (presented,)


@pytest.mark.parametrize("day", [b"1795161600", b"2026-11-20T08:00Z", b"2026-11-20 08:00:00Z"])
def test_instant_in_another_form_than_published_is_refused(day: bytes) -> None:
    raw = payload("refund-incident-confirmed").replace(b"2026-11-20T08:00:00Z", day)
    with pytest.raises(SchemaViolation):
        statement.parse_event(raw)
