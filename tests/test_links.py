"""Who is linked to whom and how far: hubs, multiplicity, the same person, ties, bounds.

All but two tests need no database: they sketch who bears what and ask the pure functions.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from exact import NOTHING_FORESEEN, OWN_ACCOUNT, POLICY, Shared, Sketch, score_exactly, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import claim

from ledger.errors import OrderConflict
from ledger.graph.link import GroupCount, count_accounts
from ledger.identity.identifier import Binding, Bucket, Kind
from ledger.risk.answer import render_answer
from ledger.risk.fading import saturate
from ledger.risk.reason import TEXTS, explain_score
from ledger.risk.score import share_points
from ledger.sequencing import sequence
from ledger.store.engine import begin_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

    from ledger.ledger import Ledger

TODAY = date(2026, 11, 22)
PHONE, DEVICE, ADDR = Shared(Kind.PHONE), Shared(Kind.DEVICE), Shared(Kind.ADDR)
PERSON = (PHONE, DEVICE)
exhaust = settings(deadline=None, derandomize=True, database=None)


def crowd(kind: Kind, number: int, bucket: Bucket) -> Sketch:
    """Sketch accounts of one platform that share a token, each with one incident."""
    sketch = Sketch(TODAY)
    for account in range(2, number + 2):
        sketch.bear(account, 1, (Shared(kind, bucket=bucket),))
    return sketch


def asked_in(sketch: Sketch, bucket: Bucket) -> Sketch:
    """Let the asker declare a bucket for all that it presents."""
    for key, one in sketch.presented.items():
        sketch.presented[key] = one._replace(bucket=bucket.code)
    return sketch


# --- Multiplicity ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "asker_bucket", "absent", "n"),
    [
        ({}, Bucket.ONE, True, 1),
        ({"a": GroupCount(1, Bucket.ONE.code)}, Bucket.ONE, True, 1),
        (
            {"a": GroupCount(3, Bucket.ONE.code), "b": GroupCount(2, Bucket.ONE.code)},
            Bucket.ONE,
            True,
            3,
        ),
        ({"me": GroupCount(3, Bucket.ONE.code)}, Bucket.ONE, True, 4),
        ({"me": GroupCount(3, Bucket.ONE.code)}, Bucket.ONE, False, 3),
        ({"me": GroupCount(1, Bucket.MASS.code)}, Bucket.ONE, False, 1),
        ({"a": GroupCount(1, Bucket.ONE.code)}, Bucket.MANY, True, 10),
        ({"a": GroupCount(1, Bucket.MASS.code)}, Bucket.ONE, True, 1),
        (
            {"a": GroupCount(1, Bucket.MASS.code), "b": GroupCount(1, Bucket.FEW.code)},
            Bucket.ONE,
            True,
            2,
        ),
        (
            {"a": GroupCount(1, Bucket.MASS.code), "b": GroupCount(1, Bucket.MANY.code)},
            Bucket.ONE,
            True,
            10,
        ),
        ({name: GroupCount(1, Bucket.ONE.code) for name in "abcde"}, Bucket.ONE, True, 1),
    ],
    ids=[
        "nobody",
        "one elsewhere",
        "the largest group",
        "the asker besides its group",
        "the asker among its group",
        "the asker's bucket is that of the question",
        "the asker's bucket counts",
        "one member's bucket alone doesn't",
        "the second-largest does",
        "and no larger one",
        "never a sum",
    ],
)
def test_accounts_are_counted_within_one_group(
    groups: dict[str, GroupCount], asker_bucket: Bucket, absent: bool, n: int
) -> None:
    assert max(count_accounts(groups, "me", asker_bucket.code, absent=absent).values()) == n


@pytest.mark.parametrize(
    ("accounts", "score"),
    [(1, 99), (2, 99), (3, 86), (4, 76), (6, 62), (10, 45)],
)
def test_phone_says_less_with_every_account_beyond_two(accounts: int, score: int) -> None:
    sketch = Sketch(TODAY).bear(2, 1, (PHONE,))
    seen = sketch.seen[PHONE.key, 1]
    sketch.seen[PHONE.key, 1] = seen._replace(accounts=accounts)
    assert sketch.score().score == score


# --- Hubs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
def test_token_links_up_to_its_cap_and_nobody_beyond(kind: Kind) -> None:
    cap = {
        Kind.PAY: 10,
        Kind.DEVICE: 20,
        Kind.EMAIL: 6,
        Kind.PHONE: 10,
        Kind.ADDR: 50,
    }.get(kind)
    assert POLICY.kinds[kind.code].cap == cap
    below = asked_in(crowd(kind, cap or 500, Bucket.ONE), Bucket.ONE).score()
    assert below.score
    assert below.ignored == ()
    if cap is not None:  # the asker's own group declares far more than it can vouch for
        beyond = asked_in(crowd(kind, cap, Bucket.ONE), Bucket.MASS).score()
        assert (beyond.score, [one.kind for one in beyond.ignored]) == (0, [kind])


@pytest.mark.parametrize(
    ("bucket", "bearing", "links"),
    [
        (Bucket.MANY, 16, False),  # 3 · 16 < 49
        (Bucket.MANY, 17, True),
        (Bucket.CROWD, 166, False),  # 3 · 166 < 499
        (Bucket.CROWD, 167, True),
        (Bucket.MASS, 400, False),
        (Bucket.ONE, 11, True),  # more bear incidents than were declared
        (Bucket.CROWD, 500, False),
    ],
)
def test_crowd_links_only_if_a_third_of_it_bears_incidents(
    bucket: Bucket, bearing: int, links: bool
) -> None:
    score = asked_in(crowd(Kind.PHONE, bearing, bucket), Bucket.ONE).score()
    assert bool(score.links) is links
    assert bool(score.ignored) is not links
    assert {part.accounts for part in score.links} <= {10}  # the discount stays that of the cap


def test_every_group_above_the_cap_must_vouch_for_its_crowd() -> None:
    sketch = crowd(Kind.PHONE, 17, Bucket.MANY)
    assert sketch.score(*asked_in(sketch, Bucket.ONE).presented.values()).links
    for account in range(101, 113):
        sketch.bear(account, 1, (Shared(Kind.PHONE, bucket=Bucket.MANY),), platform=2)
    refused = asked_in(sketch, Bucket.ONE).score()  # 3 · 12 < 49 there
    assert (refused.links, len(refused.ignored)) == ((), 1)


def test_one_member_cannot_hide_a_ring_and_two_can_name_a_dormitory() -> None:
    dormitory = Shared(Kind.ADDR, bucket=Bucket.MASS)
    sketch = Sketch(TODAY).bear(2, 3, (dormitory,))
    assert asked_in(sketch, Bucket.ONE).score().score == 61
    sketch.bear(3, 3, (dormitory,), platform=2)
    assert asked_in(sketch, Bucket.ONE).score().score == 0


@pytest.mark.parametrize("kind", [Kind.PHONE, Kind.NID])
def test_token_with_500_accounts_at_one_platform_is_ignored_and_named_unless_it_is_a_nid(
    kind: Kind, ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    token = claim(kind, "everybody's")
    reporter.report("them", (token,), now)
    settle(ledger, now)
    with begin_write(ledger.database) as connection:
        connection.exec_driver_sql(
            "INSERT INTO multiplicity SELECT identifier, platform, 500, 0, 0 FROM posting"
        )
    score = score_exactly(ledger, asker, asker.request("me", (token,)), now)
    if kind is Kind.NID:
        assert (score.score, score.basis, score.ignored) == (374, "same_person", ())
    else:
        assert (score.score, score.basis) == (0, "no_record")
        assert [(one.kind, one.reason) for one in score.ignored] == [(kind, "hub")]


# --- The same person ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "same"),
    [
        ("nid", True),
        ("phone device", True),
        ("phone pay", True),
        ("phone email", True),
        ("phone", False),
        ("phone addr", False),
        ("device pay email addr", False),
        ("device pay", False),
    ],
)
def test_same_person_shares_a_nid_or_a_phone_and_one_more(kinds: str, same: bool) -> None:
    shared = [Shared(Kind(kind)) for kind in kinds.split()]
    score = Sketch(TODAY).bear(2, 1, shared).score()
    assert (score.basis == "same_person") is same
    assert bool(score.links) is not same


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.ADDR])
@pytest.mark.parametrize("binding", list(Binding))
def test_same_person_needs_bindings_verified_for_their_kind_on_both_sides(
    kind: Kind, binding: Binding
) -> None:
    verified = {
        Kind.NID: {Binding.REAL_NAME},
        Kind.PAY: {Binding.PSP},
        Kind.DEVICE: set(Binding) - {Binding.NONE},
        Kind.EMAIL: {Binding.OTP},
        Kind.PHONE: {Binding.OTP, Binding.REAL_NAME},
    }[kind]
    second = () if kind is Kind.NID else (DEVICE,) if kind is Kind.PHONE else (PHONE,)
    shared = Shared(kind)
    mine = Sketch(TODAY).bear(2, 1, (shared, *second))
    mine.presented[shared.key] = mine.presented[shared.key]._replace(binding=binding.code)
    theirs = Sketch(TODAY).bear(2, 1, (shared, *second))
    theirs.rows = [
        row._replace(binding=binding.code) if row.key == shared.key else row for row in theirs.rows
    ]
    for sketch in (mine, theirs):
        assert (sketch.score().basis == "same_person") is (binding in verified)


def test_person_is_not_recognised_by_a_token_on_more_accounts_than_its_free_number() -> None:
    for kind, bucket, same in (
        (Kind.PHONE, Bucket.FEW, True),
        (Kind.PHONE, Bucket.SEVERAL, False),
        (Kind.DEVICE, Bucket.SEVERAL, False),
        (Kind.NID, Bucket.MASS, True),
    ):
        tokens = (Shared(Kind.NID),) if kind is Kind.NID else PERSON
        sketch = Sketch(TODAY).bear(2, 1, tokens)
        shared = Shared(kind).key
        sketch.presented[shared] = sketch.presented[shared]._replace(bucket=bucket.code)
        assert (sketch.score().basis == "same_person") is same, (kind, bucket)


def test_lowest_platform_of_a_group_stands_for_it() -> None:
    sketch = Sketch(TODAY)
    for account, platform in ((2, 7), (3, 4), (4, 9)):
        sketch.bear(account, 1, (Shared(Kind.NID),), platform=platform)
    sketch.rows = [row._replace(group="one") for row in sketch.rows]
    sketch.seen = {at: one._replace(group="one") for at, one in sketch.seen.items()}
    assert [(part.group, part.platform) for part in sketch.score().groups] == [("one", 4)]


# --- Points ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "weighted", "points"),
    [
        (10, [(1, (1, 0)), (1, (2, 0)), (1, (3, 0))], [4, 3, 3]),
        (10, [(1, (3, 0)), (1, (2, 0)), (1, (1, 0))], [3, 3, 4]),
        (11, [(1, (1, 5)), (1, (1, 4)), (1, (2, 1))], [4, 4, 3]),
        (10, [(1, (1, 5)), (1, (1, 4)), (1, (2, 1))], [3, 4, 3]),
        (10, [(2, (9, 0)), (1, (1, 0)), (0, (0, 0))], [7, 3, 0]),
        (5, [], []),
        (0, [(3, (1, 0))], [0]),
    ],
)
def test_points_go_by_largest_remainder_then_lower_platform_then_lower_account(
    total: int, weighted: list[tuple[int, tuple[int, int]]], points: list[int]
) -> None:
    assert share_points(total, weighted) == points


def test_tied_point_goes_to_the_link_at_the_lower_platform() -> None:
    one, other = (Shared(Kind.PAY, verified=False, name=name) for name in ("one", "other"))
    for first, second, expected in ((1, 2, [97, 96]), (2, 1, [96, 97])):
        sketch = Sketch(TODAY).bear(2, 3, (one,), platform=first)
        sketch.bear(3, 3, (other,), platform=second)
        assert [part.points for part in sketch.score().links] == expected


EVIDENCE = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.sets(st.sampled_from(list(Kind)), max_size=4),
        st.integers(1, 4),
        st.booleans(),
    ),
    max_size=6,
)


def sketch_evidence(evidence: list[tuple[int, set[Kind], int, bool]]) -> Sketch:
    """Sketch accounts that bear incidents; without tokens they are the asker's own."""
    sketch = Sketch(TODAY)
    for account, (incidents, kinds, platform, verified) in enumerate(evidence, 2):
        shared = [Shared(kind, verified=verified) for kind in sorted(kinds)]
        if shared:
            sketch.bear(account, incidents, shared, platform=platform)
        elif not any(row.account == OWN_ACCOUNT for row in sketch.rows):
            sketch.bear(OWN_ACCOUNT, incidents)
    return sketch


@exhaust
@given(EVIDENCE)
def test_every_score_keeps_its_bounds_and_its_points_add_up(
    evidence: list[tuple[int, set[Kind], int, bool]],
) -> None:
    sketch = sketch_evidence(evidence)
    score = sketch.score()
    assert 0 <= score.score < 1000
    assert score.linked_score <= (499 if score.association_kinds > 1 else 249)
    assert score.groups or score.score <= 499
    assert len(score.groups) != 1 or score.direct_score <= 666
    assert score.level != "HIGH" or len(score.groups) > 1
    parts = [part.points for part in score.groups] + [part.points for part in score.links]
    assert sum(parts) == score.score
    assert sum(reason.points for reason in explain_score(score)) == score.score
    shown = render_answer(score, None, NOTHING_FORESEEN, POLICY)["reasons"]
    assert isinstance(shown, list)
    assert sum(reason["points"] for reason in shown) == score.score // 10 * 10
    assert {reason["code"] for reason in shown} <= set(TEXTS)


@exhaust
@given(EVIDENCE, st.lists(st.integers(1, 400), max_size=6))
def test_no_score_rises_with_time_alone(
    evidence: list[tuple[int, set[Kind], int, bool]], days: list[int]
) -> None:
    sketch = sketch_evidence(evidence)
    before = sketch.score()
    for later in days:
        sketch.today += timedelta(days=later)
        after = sketch.score()
        assert after.score <= before.score
        assert after.direct_score <= before.direct_score
        assert after.linked_score <= before.linked_score
        before = after


def test_one_kind_of_link_stays_below_medium_however_many_accounts_share_it() -> None:
    sketch = Sketch(TODAY)
    for account in range(2, 122):
        pay = Shared(Kind.PAY, verified=False, name=str(account))
        sketch.bear(account, 100, (pay, ADDR))
    assert sketch.score().score == 249
    sketch.bear(999, 100, (Shared(Kind.EMAIL, verified=False),))
    assert 480 < sketch.score().score <= 499


def test_saturation_is_floored_and_stays_below_its_cap() -> None:
    assert saturate(2_000_000, 1_000_000) == 666_666
    assert saturate(333_333, 10**12) == 333_332


def test_own_declaration_above_the_cap_is_named_alike_for_known_and_unknown_tokens(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    known = claim(Kind.PAY, "known", here=Bucket.MASS)
    reporter.report("p", (claim(Kind.PAY, "known"),), now)
    sequence(ledger, now)
    unknown = claim(Kind.PAY, "unknown", here=Bucket.MASS)
    told = [asker.ask("q", (one,), now) for one in (known, unknown)]
    assert (
        told[0]["ignored_links"] == told[1]["ignored_links"] == [{"kind": "pay", "reason": "hub"}]
    )
    assert [one["basis"] for one in told] == ["no_record", "no_record"]


def test_order_is_bound_to_how_its_identifiers_are_bound_and_on_how_many_accounts(
    simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("shop-b")
    asked = claim(Kind.PAY, "one")
    asker.ask("q", (asked,), now, order="one order")
    asker.ask("q", (asked, claim(Kind.PHONE, "more")), now, order="one order")
    for changed in (
        claim(Kind.PAY, "one", here=Bucket.MASS),
        claim(Kind.PAY, "one", Binding.NONE),
    ):
        with pytest.raises(OrderConflict):
            asker.ask("q", (changed, claim(Kind.PHONE, "more")), now, order="one order")
