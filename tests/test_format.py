"""The page docs/format.md against the code: every table, example and member that it publishes."""

from __future__ import annotations

import base64
import hmac
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import pytest
from conftest import ORIGIN, ROOT
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from erasing import end_incidents, open_all

from ledger import authorizing, reporting, strict_json
from ledger.enrolling import revoke_key, rotate_key, suspend_platform
from ledger.identity import identifier, token
from ledger.identity.key import Algorithm, generate_signing_jwk, parse_jwk, public_jwk
from ledger.identity.platform import SCOPES
from ledger.incident import incident, statement
from ledger.incident.lifecycle import State
from ledger.incident.schema import Claims, Confirmed, EventMembers
from ledger.log import leaf, note, receipt, witness
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.merkle import leaf_hash, node_hash
from ledger.store.platforms import LEDGER_PLATFORM
from ledger_client.receipt import STATUS_FRESH_FOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from simulator import Simulator

    from ledger.ledger import Ledger
    from ledger.store.entries import StoredEvent

PAGE = (ROOT / "docs" / "format.md").read_text("utf-8")
TAKING_BACK = {"refund-incident-retracted", "forged-evidence-withdrawn"}
STATED = (  # the examples of a platform's statements, in the order in which one ledger takes them
    "refund-incident-confirmed",
    "refund-incident-corrected",
    "refund-incident-restituted",
    "accounts-unlinked",
    "identifier-recycled",
    "protective-marker-set",
    "forged-evidence-seen",
    "forged-evidence-withdrawn",
    "refund-incident-retracted",
    "erasure-acknowledged",
)


def section(heading: str) -> str:
    """Give the text under a heading, up to the next one."""
    (found,) = re.findall(rf"(?ms)^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", PAGE)
    return str(found)


def tables(heading: str) -> list[list[list[str]]]:
    """Give the rows of the tables under a heading, without their heads."""
    rows = [found.splitlines()[2:] for found in re.findall(r"(?m)(?:^\|.*\n)+", section(heading))]
    return [[[cell.strip() for cell in row[1:-1].split("|")] for row in table] for table in rows]


def plain(cell: str) -> str:
    """Give a cell without its backticks."""
    return cell.strip("`")


def blocks(heading: str) -> list[str]:
    """Give the fenced blocks under a heading."""
    return re.findall(r"(?ms)^```(?:json)?\n(.*?)^```$", section(heading))


def values(heading: str) -> dict[str, str]:
    """Give the lines `name = value` of the block under a heading."""
    return dict(line.split(" = ", 1) for line in blocks(heading)[0].splitlines())


def example(name: str) -> dict[str, Any]:
    """Give the JSON object of an example."""
    claims: dict[str, Any] = json.loads(payload(name))
    return claims


def payload(name: str) -> bytes:
    """Give the exact bytes of an example."""
    return blocks(f"Example: {name}")[0].encode()


def sign(claims: Mapping[str, Any], key: Mapping[str, str], typ: str) -> bytes:
    """Sign claims as they are."""
    return token.sign_token(claims, key, typ=typ).encode()


# --- Entries, checkpoints, receipts ---------------------------------------------------------


def test_ops_and_reasons_are_those_of_the_code() -> None:
    ops = [(op.value, op.name) for op in leaf.Op]
    reasons = [(reason.value, reason.name) for reason in leaf.EntryReason]
    assert [(int(op), name) for op, name, *_ in tables("Ops")[0]] == ops
    assert [(int(code), name) for code, name, _ in tables("Reasons")[0]] == reasons


def test_layout_of_the_entry_cuts_the_example_into_its_fields() -> None:
    entry, fields, end = bytes.fromhex(values("Example: an entry")["entry"]), [], 0
    for at, length, _ in tables("Entry")[0]:
        assert int(at) == end
        end += int(length)
        fields.append(entry[int(at) : end])
    assert (len(entry), end, fields[0]) == (80, 80, b"BCL1")
    op, reason, policy, ref = (int.from_bytes(field) for field in fields[1:5])
    assert leaf.parse_leaf(entry) == leaf.Leaf(
        leaf.Op(op), leaf.EntryReason(reason), policy, ref, fields[5], fields[6]
    )


def test_example_of_an_entry_follows_from_salt_tag_key_and_token() -> None:
    shown = values("Example: an entry")
    commitment = leaf.commit(bytes.fromhex(shown["salt"]), shown["token"].encode())
    tag = leaf.tag_issuer(bytes.fromhex(shown["tag key"]), commitment)
    op, reason = leaf.Op.INCIDENT_CONFIRMED, leaf.EntryReason.NONE
    entry = leaf.encode_leaf(leaf.Leaf(op, reason, 1, leaf.NO_REF, tag, commitment))
    made = {"commitment": commitment, "issuer tag": tag, "entry": entry}
    made["leaf hash"] = leaf_hash(entry)
    assert shown == shown | {name: raw.hex() for name, raw in made.items()}


def test_example_of_a_receipt_is_what_the_log_would_serve() -> None:
    text, vkey = blocks("Example: a receipt")
    shown, verifier = values("Example: an entry"), note.parse_vkey(vkey.strip())
    verified = receipt.verify_receipt(text, [verifier], token=shown["token"].encode())
    assert (verified.index, verified.checkpoint.size, verified.opened) == (0, 2, True)
    (seed,) = re.findall(r"\(seed\n([0-9a-f]{64})\)", section("Example: a receipt"))
    signer = note.signer_from_seed(ORIGIN, bytes.fromhex(seed))
    assert signer.vkey == vkey.strip()
    entry, (sibling,) = bytes.fromhex(shown["entry"]), receipt.parse_receipt(text).proof
    tree = Checkpoint(ORIGIN, 2, node_hash(leaf_hash(entry), sibling))
    signed, salt = sign_checkpoint(tree, signer), bytes.fromhex(shown["salt"])
    assert receipt.render_receipt(receipt.Receipt(entry, salt, 0, (sibling,), signed)) == text


def test_example_of_a_cosignature_is_what_a_witness_would_answer() -> None:
    line, vkey = blocks("Example: a cosignature")
    told = re.search(r"at (\d+), .*?([0-9a-f]{64}):", section("Example: a cosignature"), re.DOTALL)
    at, seed = told.groups() if told else ("", "")
    signer = witness.witness_from_seed("witness.shop-a.example/w1", bytes.fromhex(seed))
    signed = receipt.parse_receipt(blocks("Example: a receipt")[0]).checkpoint_note
    assert signer.vkey == vkey.strip()
    assert witness.cosign(signed.partition("\n\n")[0] + "\n", signer, int(at)) == line


# --- Identifiers and tokens -----------------------------------------------------------------


def test_kinds_are_those_of_the_code_and_the_example_follows_from_a_plain_value() -> None:
    kinds = [kind.value for kind in identifier.Kind]
    assert [plain(kind) for kind, _ in tables("Identifiers")[0]] == kinds
    shown = values("Example: identifiers")
    index_key = bytes.fromhex(shown["index key"])
    blinded = identifier.demo_token(identifier.Kind(shown["kind"]), shown["plain value"])
    assert identifier.render_identifier(blinded) == shown["identifier"]
    assert identifier.parse_identifier(shown["identifier"]) == blinded
    assert identifier.lookup_key(index_key, blinded).hex() == shown["lookup key"]
    account = identifier.AccountRef(shown["iss"], shown["sub"])
    assert identifier.account_key(index_key, account).hex() == shown["account key"]


def test_header_and_types_are_those_of_the_code() -> None:
    header, types = tables("Tokens")
    segment = sign({}, generate_signing_jwk(Algorithm.ES256), token.EVENT_TYPE).split(b".")[0]
    signed = json.loads(base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4)))
    assert {plain(name) for name, _ in header} == set(signed)
    assert set(re.findall("`(.*?)`", header[1][1])) == set(token._NAMES)
    known = {value for name, value in vars(token).items() if name.endswith("_TYPE")}
    assert {plain(typ) for typ, *_ in types} == known


@pytest.mark.parametrize(
    ("heading", "limit"),
    [
        ("Checkpoint", f"{note.NOTE_BYTES_MAX:,} characters and {note.SIGNATURES_MAX} signatures"),
        ("Tokens", f"at most {token.TOKEN_BYTES_MAX:,} characters"),
        ("Tokens", f"{strict_json.BYTES_MAX:,} bytes and {strict_json.DEPTH_MAX} levels"),
        ("Identifiers", f"at most {identifier.EPOCH_MAX}, and"),
        ("Claims", f"{token.SKEW_SECONDS} s ahead and {token.EVENT_AGE_MAX.days} days back"),
        ("Example: client assertion", f"at most {token.ASSERTION_SECONDS_MAX} seconds"),
        ("Example: access token", f"for {authorizing.ACCESS_SECONDS} seconds"),
        ("Example: signed status", f"older than {STATUS_FRESH_FOR // timedelta(hours=1)} hours"),
    ],
)
def test_limit_is_that_of_the_code(heading: str, limit: str) -> None:
    assert limit in " ".join(section(heading).split())


# --- Members of events ----------------------------------------------------------------------


def nested(annotation: Any) -> Iterator[tuple[str, type]]:
    """Find the shapes inside an annotation, with the way to them."""
    if isinstance(annotation, type) and hasattr(annotation, "__pydantic_fields__"):
        yield "", annotation
    step = {list: "[]", dict: ".*"}.get(get_origin(annotation), "")
    for argument in get_args(annotation):
        for way, model in nested(argument):
            yield step + way, model


def members(model: Any, prefix: str = "") -> Iterator[tuple[str, Any, bool]]:
    """Walk every member of a shape: its path, its annotation, and whether it is needed."""
    for name, field in model.__pydantic_fields__.items():
        path = f"{prefix}{field.alias or name}"
        yield path, field.annotation, field.is_required()
        for way, inner in nested(field.annotation):
            yield from members(inner, f"{path}{way}.")


def words(annotation: Any) -> list[str]:
    """Give the words that an annotation admits."""
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return [one.value for one in annotation]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for argument in get_args(annotation) for word in words(argument)]


def published_members(heading: str) -> dict[str, bool]:
    """Give the members in a table of the page, and whether each is needed."""
    return {plain(path): needed == "yes" for path, needed, _ in tables(heading)[0]}


@pytest.mark.parametrize(
    ("heading", "model", "elsewhere"),
    [
        ("Claims", Claims[Confirmed], {path for path, *_ in members(Confirmed, "events.*.")}),
        ("Members of every event", EventMembers, set()),
        ("refund-incident-confirmed", Confirmed, set(EventMembers.model_fields)),
    ],
)
def test_members_are_those_of_the_schema(heading: str, model: type, elsewhere: set[str]) -> None:
    expected = {path: needed for path, _, needed in members(model) if path not in elsewhere}
    assert published_members(heading) == expected


def test_words_are_those_of_the_schema() -> None:
    expected = {path: words(annotation) for path, annotation, _ in members(Confirmed)}
    shown = {plain(path): re.findall("`(.*?)`", cell) for path, cell in tables("Words")[0]}
    assert shown == {path: some for path, some in expected.items() if len(some) > 1}


def test_examples_of_events_are_parsed_as_they_read() -> None:
    report = statement.parse_event(payload("refund-incident-confirmed"))
    retraction = statement.parse_event(payload("refund-incident-retracted"))
    shown = values("Example: identifiers")
    assert isinstance(report, incident.IncidentReport)
    assert isinstance(retraction, statement.Retraction)
    blinded = identifier.parse_identifier(shown["identifier"])
    assert report.account == identifier.AccountRef(shown["iss"], shown["sub"])
    assert report.identifiers[0].identifier == blinded
    assert (report.amount.minor, report.amount.currency) == (38_970, "CNY")
    told = (retraction.incident_jti, retraction.txn, retraction.account)
    assert told == (report.jti, report.txn, report.account)


# --- A ledger that lives through the examples -----------------------------------------------


@dataclass(frozen=True)
class Story:
    """A ledger after the examples of the page, and what it signed on the way."""

    ledger: Ledger
    report: bytes
    acknowledgement: str
    status: str
    access: str
    before: dict[int, tuple[StoredEvent, dict[str, Any]]]

    @property
    def logged(self) -> list[tuple[StoredEvent, dict[str, Any]]]:
        """Every statement in log order with its claims; what was erased as it was before."""
        opened = open_all(self.ledger)
        return [self.before.get(one.id, (one, claims)) for one, claims in opened]


@pytest.fixture
def backend() -> str:
    """Name the one kind of database that is enough here: bytes don't depend on it."""
    return "sqlite"


@pytest.fixture
def story(ledger: Ledger, simulator: Callable[..., Simulator]) -> Story:
    """Send the examples to a ledger, and ask for what it signs."""
    shop = simulator("shop-a")
    claims = example("refund-incident-confirmed")
    at = datetime.fromtimestamp(claims["iat"], UTC)
    report = sign(claims, shop.private_jwk, token.EVENT_TYPE)
    reported = reporting.accept_event(ledger, report, at).incident_id
    assert reported is not None
    assertion = sign(example("client assertion"), shop.private_jwk, token.ASSERTION_TYPE)
    access = authorizing.grant_access(ledger, assertion.decode(), None, None, at).token
    caller = shop.caller(at)
    acknowledgement = reporting.describe_incident(ledger, caller, reported).acknowledgement
    assert acknowledgement is not None
    status = reporting.sign_status(ledger, caller, reported, at + timedelta(minutes=5))
    later = at
    before: dict[int, tuple[StoredEvent, dict[str, Any]]] = {}
    for name in STATED[1:]:
        said = example(name)
        if name in TAKING_BACK:
            before |= {one.id: (one, claims) for one, claims in open_all(ledger) if claims}
        later = datetime.fromtimestamp(said["iat"], UTC)
        reporting.accept_event(ledger, sign(said, shop.private_jwk, token.EVENT_TYPE), later)
    another = parse_jwk(public_jwk(generate_signing_jwk(Algorithm.ES256)))
    rotate_key(ledger, shop.uri, another, later)
    end_incidents(shop, later)
    revoke_key(ledger, shop.uri, shop.kid, later)
    suspend_platform(ledger, shop.uri, later)
    return Story(ledger, report, acknowledgement, status, access, before)


def test_examples_of_events_are_accepted_and_ops_are_written_as_marked(story: Story) -> None:
    sent = [claims for stored, claims in story.logged if stored.platform != LEDGER_PLATFORM]
    kept = [example(name) for name in STATED if name not in TAKING_BACK]
    assert [claims for claims in sent if claims] == kept, "these destroy their own content"
    written = {int(op) for op, _, mark, _ in tables("Ops")[0] if mark == "yes"}
    assert {stored.op for stored, _ in story.logged} - {leaf.Op.DISPUTED} == written


def test_statements_of_the_ledger_have_the_published_members(story: Story) -> None:
    logged = [one for one in story.logged if one[0].op != leaf.Op.DISPUTED]
    own = [claims for stored, claims in logged if stored.platform == LEDGER_PLATFORM]
    changes = {}
    for claims in own:
        said = statement.parse_ledger_statement(json.dumps(claims).encode())
        shown = example(said.name)
        published = statement.parse_ledger_statement(payload(said.name)).members
        assert claims.keys() == shown.keys()
        assert claims["events"].keys() == shown["events"].keys()
        assert claims["sub_id"].keys() == shown["sub_id"].keys()
        change = said.members.get("change")
        if change == published.get("change"):
            assert said.members.keys() == published.keys()
        if change:
            changes[change] = said.members.keys() - {"change"}
    assert changes == {
        plain(change): set(re.findall("`(.*?)`", further))
        for change, further in tables("Example: platform-changed")[0]
    }
    assert len(own) == 15


def differing(signed: str, name: str) -> set[str]:
    """Name the claims whose values aren't those of an example; their names are."""
    claims, shown = json.loads(token.payload_of(signed)), example(name)
    assert claims.keys() == shown.keys()
    return {claim for claim in shown if claims[claim] != shown[claim]}


def test_acknowledgement_and_status_are_as_published(story: Story) -> None:
    public, issuer = public_jwk(story.ledger.log_jwk), story.ledger.issuer
    for name, signed, typ in (
        ("acknowledgement", story.acknowledgement, token.ACKNOWLEDGEMENT_TYPE),
        ("signed status", story.status, token.STATUS_TYPE),
    ):
        assert f"`{typ}`" in section(f"Example: {name}")
        token.verify_ledger_statement(signed, public, typ=typ, issuer=issuer)
    # The salt and the place in the log are those of another ledger, and nothing else is.
    assert differing(story.acknowledgement, "acknowledgement") == {"commitment"}
    assert differing(story.status, "signed status") == {"index"}
    told = set(re.findall("`([a-z]+)`", section("Example: signed status")))
    assert told == {"received", *(state.value for state in State), "typ", "index", "null", "state"}


def test_access_token_is_as_published(story: Story) -> None:
    assert differing(story.access, "access token") == {"jti", "client_kid"}
    assert set(example("access token")["scope"].split()) == SCOPES


def test_sealed_token_opens_and_commitment_follows_by_the_page_alone(story: Story) -> None:
    ((stored, claims),) = [one for one in story.before.values() if one[1]["jti"] == "evt-1"]
    assert stored.sealed is not None
    assert stored.salt is not None
    wrapped, context = stored.sealed.wrapped_key, b"bcl/event\0%d\0evt-1" % stored.platform
    entry_key = AESGCM(story.ledger.keys.wrap_key).decrypt(wrapped[:12], wrapped[12:], context)
    opened = AESGCM(entry_key).decrypt(bytes(12), stored.sealed.ciphertext, context)
    assert (len(wrapped), opened) == (60, story.report)
    assert claims == example("refund-incident-confirmed")
    commitment = hmac.digest(stored.salt, b"bcl/leaf/v1\0" + opened, "sha256")
    promised = json.loads(token.payload_of(story.acknowledgement))
    assert promised["commitment"] == commitment.hex()
