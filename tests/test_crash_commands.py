"""The rows of the crash table in docs/operating.md that are about commands and access tokens.

Commands that create a ledger or change its members are killed at their commits, and repeated as
an operator would who saw no answer.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest
from conftest import ORIGIN, ROOT
from crash_launcher import Moment, Plan
from crash_stage import Member, Stage, Told, render_environment, tell_time
from crash_world import AFTER, BEFORE, KILLED
from exact import settle
from exchanging import forgery
from reports import digest
from simulator import Simulator

from ledger.auditing import audit_ledger
from ledger.enrolling import list_platforms
from ledger.errors import LedgerUnavailable
from ledger.governing import list_policies
from ledger.identity.key import Algorithm, generate_signing_jwk, public_jwk
from ledger.incident.evidence import Sought
from ledger.ledger import open_ledger
from ledger.matching import list_recalls, match_evidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ledger.ledger import Ledger, LedgerKeys
    from ledger.rights.jurisdiction import JurisdictionProfile

CREATE = ("db", "upgrade", "--origin", ORIGIN, "--jurisdiction", "SANDBOX")
STATEMENTS_MAX = 300
STRIDE = 9  # an even sample of the statements of a migration, and quick


def open_stage(url: str, keys: LedgerKeys, folder: Path) -> Stage:
    """Open a stage for commands that run on a database."""
    embedded = url.startswith("sqlite")
    return Stage(render_environment(url, keys), folder, embedded=embedded)


@pytest.fixture
def stage(database_url: str, keys: LedgerKeys, tmp_path: Path) -> Iterator[Stage]:
    """Give the processes of a database that is migrated."""
    opened = open_stage(database_url, keys, tmp_path)
    yield opened
    opened.clear()


def is_clean(ledger: Ledger) -> bool:
    """Tell whether an audit finds nothing."""
    return audit_ledger(ledger, lambda *_: None).findings == ()


def read_members(ledger: Ledger) -> dict[str, str]:
    """Read the members and how they stand."""
    return {member.uri: member.state.value for member, _ in list_platforms(ledger)}


@pytest.mark.parametrize(
    ("moment", "is_enrolled"),
    [pytest.param(BEFORE, False, id="C15"), pytest.param(AFTER, True, id="C16")],
)
def test_enrolment_that_died_is_repeated_or_was_done(
    ledger: Ledger, stage: Stage, tmp_path: Path, moment: Moment, is_enrolled: bool
) -> None:
    key_file = tmp_path / "shop.jwks"
    public = public_jwk(generate_signing_jwk(Algorithm.ED25519))
    key_file.write_text(json.dumps({"keys": [public]}), "utf-8")
    uri = "https://shop-x.example"
    names = ("--id", uri, "--name", "X", "--group", "x", "--jurisdiction", "SANDBOX")
    enrol = ("platform", "enrol", *names, "--jwks", str(key_file), "--scope", "risk:read")
    stage.plan(Plan(moment, "INSERT INTO platform ("))
    assert stage.run(*enrol) == KILLED
    assert (uri in read_members(ledger)) == is_enrolled
    assert "tag_key" not in stage.read_log()
    assert stage.run(*enrol) == int(is_enrolled)
    assert ("platform-enrolled" in stage.read_log()) == is_enrolled
    assert read_members(ledger) == {uri: "active"}
    assert stage.run("worker", "--once") == 0
    assert is_clean(ledger)


@pytest.mark.parametrize(
    ("moment", "state"),
    [pytest.param(BEFORE, "active", id="C15"), pytest.param(AFTER, "suspended", id="C16")],
)
def test_suspension_that_died_can_be_repeated(
    ledger: Ledger, stage: Stage, moment: Moment, state: str
) -> None:
    member, now = Member(ledger, "shop-x", stage, Told(), tell_time()), tell_time()
    member.close()
    uri, asker = member.platform.uri, Simulator(ledger, "shop-y")
    asker.enrol(now)
    member.platform.send(forgery(member.platform, digest("forged"), None, now), now)
    settle(ledger, now)
    caller = asker.caller(now)
    match_evidence(ledger, caller, [Sought(digest("forged"), ())], now)
    stage.plan(Plan(moment, "UPDATE platform SET"))
    assert stage.run("platform", "suspend", uri) == KILLED
    assert read_members(ledger) == {uri: state, asker.uri: "active"}
    assert len(list_recalls(ledger, caller, "", 9)[0]) == (state == "suspended")
    assert stage.run("platform", "suspend", uri) == 0
    assert read_members(ledger) == {uri: "suspended", asker.uri: "active"}
    assert len(list_recalls(ledger, caller, "", 9)[0]) == 1
    assert stage.run("worker", "--once") == 0
    assert is_clean(ledger)


@pytest.mark.parametrize(
    ("moment", "is_published"),
    [pytest.param(BEFORE, False, id="C31"), pytest.param(AFTER, True, id="C32")],
)
def test_publication_of_a_policy_that_died_is_repeated_or_was_done(
    ledger: Ledger, stage: Stage, tmp_path: Path, moment: Moment, is_published: bool
) -> None:
    file = tmp_path / "second.toml"
    text = (ROOT / "config" / "policy.toml").read_text("utf-8")
    file.write_text(text.replace("version = 1\n", "version = 2\n", 1), "utf-8")
    publish = ("policy", "publish", str(file))
    stage.plan(Plan(moment, "INSERT INTO policy ("))
    assert stage.run(*publish) == KILLED
    assert [one.version for one in list_policies(ledger)] == ([1, 2] if is_published else [1])
    assert stage.run(*publish) == (2 if is_published else 0)
    assert stage.run("worker", "--once") == 0
    assert [(one.version, one.in_force) for one in list_policies(ledger)] == [
        (1, False),
        (2, True),
    ]
    assert is_clean(ledger)


@pytest.mark.parametrize(
    ("moment", "is_used"),
    [pytest.param(BEFORE, False, id="C17"), pytest.param(AFTER, True, id="C18")],
)
def test_assertion_is_used_up_with_its_commit_and_costs_no_more_than_a_new_one(
    ledger: Ledger, stage: Stage, moment: Moment, is_used: bool
) -> None:
    member = Member(ledger, "shop-x", stage, Told(), tell_time())
    stage.start_server()
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": member.platform.assertion(tell_time()),
    }
    stage.plan(Plan(moment, "INSERT INTO client_assertion"))
    with pytest.raises(httpx.TransportError):
        member.connect().http.post("/oauth2/token", data=form)
    stage.start_server()
    again = member.connect().http.post("/oauth2/token", data=form)
    assert again.status_code == (400 if is_used else 200)
    assert member.connect().get_access(tell_time())
    member.close()


@pytest.mark.parametrize(
    ("moment", "is_created"),
    [pytest.param(BEFORE, False, id="C19"), pytest.param(AFTER, True, id="C20")],
)
def test_creation_that_died_is_completed_by_repeating_it(
    stage: Stage,
    database_url: str,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    moment: Moment,
    is_created: bool,
) -> None:
    stage.plan(Plan(moment, "INSERT INTO ledger_identity"))
    assert stage.run(*CREATE) == KILLED
    was_created = False
    with suppress(LedgerUnavailable):
        open_ledger(database_url, keys, profiles).database.engine.dispose()
        was_created = True
    assert was_created == is_created
    assert stage.run(*CREATE) == 0
    assert stage.run("worker", "--once") == 0
    assert stage.run("log", "checkpoint") == 0
    assert f"{ORIGIN}\n1\n" in stage.read_log()
    assert stage.run("log", "audit") == 0


def test_migration_that_died_at_any_statement_is_completed_by_repeating_it(
    empty_database_url: str, keys: LedgerKeys, tmp_path: Path
) -> None:
    stage = open_stage(empty_database_url, keys, tmp_path)
    for number in range(1, STATEMENTS_MAX, STRIDE):
        stage.plan(Plan(Moment.STATEMENT, number=number))
        status = stage.run(*CREATE)
        if status == 0:
            break
        assert status == KILLED
    assert stage.cancel()
    assert number > STRIDE * 3
    assert stage.run("worker", "--once") == 0
    assert stage.run("log", "audit") == 0
    stage.clear()
