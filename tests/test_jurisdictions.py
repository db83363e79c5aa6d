"""Jurisdiction profiles as data, windows that end at local midnight, and who may file what where.

Pure: no database.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from conftest import ROOT
from reports import NOW, sample_report

from ledger.errors import (
    InvalidInput,
    StandardNotMet,
    WrongJurisdiction,
)
from ledger.incident.incident import LegalBasis
from ledger.incident.taxonomy import LegalBasisKind
from ledger.rights.jurisdiction import JurisdictionProfile, parse_profiles
from ledger.rights.notice import activates_at, check_filing, window_end
from ledger.rights.retention import retention_end

if TYPE_CHECKING:
    from ledger.incident.incident import IncidentReport

SHIPPED = (ROOT / "config" / "jurisdictions.toml").read_text("utf-8")
PROFILES = parse_profiles(SHIPPED)
CN, SANDBOX = PROFILES["CN"], PROFILES["SANDBOX"]
BERLIN = replace(CN, code="DST", time_zone=ZoneInfo("Europe/Berlin"), response_window_days=3)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


# --- Profiles as data --------------------------------------------------------------------------


def test_shipped_profiles_give_every_field_with_its_source() -> None:
    raw = tomllib.loads(SHIPPED)
    assert set(PROFILES) == set(raw) == {"CN", "SANDBOX"}
    for code, profile in PROFILES.items():
        assert profile.code == code
        assert set(profile.sources) == set(raw[code])
        for name, source in profile.sources.items():
            assert len(source) > 10, (code, name)
            given, held = raw[code][name]["value"], getattr(profile, name)
            assert given == {ZoneInfo: str, tuple: list}.get(type(held), type(held))(held)


def test_shipped_profiles_say_what_the_design_says() -> None:
    assert (CN.answer, CN.sandbox, CN.notice_before_effect) == ("facts", False, True)
    assert (CN.response_window_days, CN.dispute_answer_days, CN.retention_years) == (15, 20, 5)
    assert (CN.legal_bases, CN.consent_receipt_required) == (("consent",), True)
    assert CN.sources["response_window_days"].startswith("judgement")
    assert CN.time_zone == ZoneInfo("Asia/Shanghai")
    assert (SANDBOX.answer, SANDBOX.sandbox, SANDBOX.response_window_days) == ("score", True, 0)


def _line(name: str, value: str, source: str = '"judgement: a test"') -> str:
    return f"{name} = {{ value = {value}, source = {source} }}\n"


LINES = {
    line.partition(" ")[0]: f"{line}\n"
    for line in SHIPPED.partition("[CN]")[2].partition("\n\n")[0].strip().splitlines()
}


def _write(changes: dict[str, str]) -> str:
    return "[XX]\n" + "".join((LINES | changes).values())


def test_profile_of_every_field_is_read() -> None:
    assert parse_profiles(_write({}))["XX"] == replace(CN, code="XX")


@pytest.mark.parametrize("name", LINES)
def test_field_without_value_or_source_is_refused_by_its_name(name: str) -> None:
    wrong = '"5"' if name not in {"name", "time_zone", "answer", "currency"} else "5"
    for line in (
        "",
        _line(name, wrong),
        _line(name, "1.0"),
        _line(name, '"a"', '""'),
        _line(name, '"a"', "5"),
        f'{name} = "bare"\n',
    ):
        with pytest.raises(InvalidInput) as caught:
            parse_profiles(_write({name: line}))
        assert f"XX.{name}" in caught.value.detail or line == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": _line("answer", '"verdict"')},
        {"time_zone": _line("time_zone", '"Mars/Olympus"')},
        {"time_zone": _line("time_zone", '"../etc/passwd"')},
        {"more": _line("more", "1")},
        {"response_window_days": _line("response_window_days", "true")},
        {"response_window_days": _line("response_window_days", "-1")},
        {"retention_years": _line("retention_years", "0")},
        {"evidence_retention_years": _line("evidence_retention_years", "0")},
        {"link_retention_years": _line("link_retention_years", "4")},
        {"marker_retention_years": _line("marker_retention_years", "4")},
        {"legal_bases": _line("legal_bases", '["contract"]')},
        {"legal_bases": _line("legal_bases", "[1]")},
        {"broken": "= 1"},
    ],
    ids=lambda changes: next(iter(changes.values())).split(",")[0],
)
def test_profile_that_says_something_else_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        parse_profiles(_write(changes))


# --- Windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "days", "end"),
    [
        ("2026-11-01T00:00:00+08:00", 15, "2026-11-17T00:00:00+08:00"),
        ("2026-11-01T23:59:59+08:00", 15, "2026-11-17T00:00:00+08:00"),
        ("2026-11-01T15:59:59+00:00", 15, "2026-11-17T00:00:00+08:00"),  # still the 1st in Shanghai
        ("2026-11-01T16:00:00+00:00", 15, "2026-11-18T00:00:00+08:00"),  # the 2nd already
        ("2026-12-31T20:00:00+08:00", 1, "2027-01-02T00:00:00+08:00"),
        ("2028-02-27T09:00:00+08:00", 1, "2028-02-29T00:00:00+08:00"),
    ],
)
def test_window_ends_at_midnight_in_shanghai_after_its_last_day(
    sent: str, days: int, end: str
) -> None:
    sent_at = datetime.fromisoformat(sent).astimezone(UTC)
    ends = window_end(sent_at, days, CN)
    assert window_end(sent_at, 0, CN) == sent_at
    assert ends == datetime.fromisoformat(end)
    assert ends.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("sent", "end", "hours"),
    [
        # Clocks go forward on 2026-03-29 and back on 2026-10-25, each at 01:00 UTC.
        ("2026-03-27T12:00:00+01:00", "2026-03-31T00:00:00+02:00", 83),
        ("2026-10-23T12:00:00+02:00", "2026-10-27T00:00:00+01:00", 85),
        ("2026-06-10T12:00:00+02:00", "2026-06-14T00:00:00+02:00", 84),
    ],
)
def test_window_across_a_change_of_clocks_ends_at_midnight_by_the_new_clock(
    sent: str, end: str, hours: int
) -> None:
    sent_at = datetime.fromisoformat(sent).astimezone(UTC)
    ends = window_end(sent_at, 3, BERLIN)
    assert ends == datetime.fromisoformat(end)
    assert ends - sent_at == timedelta(hours=hours)


def test_midnight_that_the_clocks_skip_is_the_instant_at_which_they_do() -> None:
    """In Beirut clocks went forward at midnight of 2022-03-27: that day began at 01:00."""
    profile = replace(CN, time_zone=ZoneInfo("Asia/Beirut"))
    ends = window_end(datetime(2022, 3, 25, 12, tzinfo=UTC), 1, profile)
    assert ends == datetime(2022, 3, 26, 22, tzinfo=UTC)


def _notified(
    sent_at: datetime, until: datetime, *, code: str = "CN", **changes: Any
) -> IncidentReport:
    report = sample_report(NOW, jurisdiction=code)
    assert report.notice is not None
    notice = replace(report.notice, sent_at=sent_at, response_until=until)
    return replace(
        report,
        conduct_ended_at=sent_at - DAY,
        notice=notice,
        legal_basis=LegalBasis(LegalBasisKind.CONSENT, "receipt-1"),
        **changes,
    )


def test_report_counts_from_the_later_of_the_promised_and_the_legal_window() -> None:
    sent = datetime(2026, 11, 10, 4, tzinfo=UTC)  # noon in Shanghai
    legal = datetime(2026, 11, 25, 16, tzinfo=UTC)
    for promised, effective in (
        (sent + 15 * DAY, legal),
        (legal, legal),
        (legal + TICK, legal + TICK),
        (legal + 10 * DAY, legal + 10 * DAY),
    ):
        report = _notified(sent, promised)
        assert activates_at(report, CN, received_at=NOW) == effective
        assert activates_at(report, CN, received_at=effective - TICK) == effective
        assert activates_at(report, CN, received_at=effective) is None
        assert activates_at(report, CN, received_at=effective + DAY) is None


def test_report_counts_at_once_where_no_notice_comes_first() -> None:
    late = NOW + DAY
    report = _notified(NOW, late)
    assert activates_at(replace(report, notice=None), CN, received_at=NOW) is None
    assert activates_at(report, replace(CN, notice_before_effect=False), received_at=NOW) is None
    assert activates_at(report, SANDBOX, received_at=NOW) == late  # it may promise more


# --- Filing ------------------------------------------------------------------------------------


def file(
    report: IncidentReport,
    profile: JurisdictionProfile = CN,
    *,
    enrolled: tuple[str, ...] | None = None,
    at: datetime = NOW,
) -> set[tuple[str, str]]:
    """File a report; give place and code of each fault."""
    where = (profile.code,) if enrolled is None else enrolled
    try:
        check_filing(report, profile, platform_jurisdictions=where, received_at=at)
    except StandardNotMet as refusal:
        return {(fault.pointer, fault.code) for fault in refusal.faults}
    return set()


SENT = NOW - 5 * DAY
HONEST = _notified(SENT, SENT + 15 * DAY)
TOO_SHORT = {("/notice/response_until", "window")}
SENT_WRONG = {("/notice/sent_at", "notice")}


def test_report_that_keeps_every_rule_is_filed() -> None:
    assert file(HONEST) == set()
    assert file(HONEST, enrolled=("US", "CN")) == set()


@pytest.mark.parametrize("enrolled", [(), ("SANDBOX",), ("US", "EU"), ("cn",)])
def test_platform_files_only_where_it_is_enrolled(enrolled: tuple[str, ...]) -> None:
    with pytest.raises(WrongJurisdiction):
        file(HONEST, enrolled=enrolled)


@pytest.mark.parametrize("code", ["SANDBOX", "US", "cn"])
def test_report_of_another_jurisdiction_is_refused_even_by_a_member_there(code: str) -> None:
    with pytest.raises(WrongJurisdiction):
        file(replace(HONEST, jurisdiction=code), enrolled=(code, "CN"))


def test_notice_comes_first_where_the_profile_says_so() -> None:
    unnotified = replace(HONEST, notice=None)
    assert file(unnotified) == {("/notice", "notice")}
    assert file(unnotified, replace(CN, notice_before_effect=False)) == set()


def test_notice_is_sent_after_the_conduct_and_before_the_report() -> None:
    assert HONEST.notice is not None
    ended = HONEST.conduct_ended_at
    for sent, faults in ((ended, set()), (ended - TICK, SENT_WRONG)):
        notice = replace(HONEST.notice, sent_at=sent)
        assert file(replace(HONEST, notice=notice)) == faults
    until = NOW + 20 * DAY
    for sent, faults in ((NOW, set()), (NOW + TICK, SENT_WRONG)):
        notice = replace(HONEST.notice, sent_at=sent, response_until=until)
        assert file(replace(HONEST, notice=notice)) == faults
    ahead = replace(HONEST, issued_at=NOW + DAY)
    notice = replace(HONEST.notice, sent_at=NOW + TICK, response_until=until)
    assert file(replace(ahead, notice=notice)) == SENT_WRONG


def test_time_to_respond_is_whole_days_or_until_their_midnight() -> None:
    days = CN.response_window_days * DAY
    for until, faults in (
        (SENT + days, set()),
        (SENT + days - TICK, TOO_SHORT),
        (SENT, TOO_SHORT),
        (SENT - DAY, TOO_SHORT),
        (window_end(SENT, CN.response_window_days, CN), set()),
        (NOW + 365 * DAY, set()),
    ):
        assert file(_notified(SENT, until)) == faults


def test_basis_is_one_of_the_profile_s_and_consent_is_shown_by_its_receipt() -> None:
    receipt = {("/legal_basis/receipt_id", "receipt")}
    for kind in LegalBasisKind:
        for receipt_id in (None, "receipt-1"):
            report = replace(HONEST, legal_basis=LegalBasis(kind, receipt_id))
            if kind is not LegalBasisKind.CONSENT:
                assert file(report) == {("/legal_basis/kind", "legal_basis")}
                continue
            assert file(report) == (set() if receipt_id else receipt)
            assert file(report, replace(CN, consent_receipt_required=False)) == set()


def test_every_rule_that_is_broken_is_named_at_once() -> None:
    basis = LegalBasis(LegalBasisKind.LEGITIMATE_INTEREST, None)
    broken = replace(_notified(NOW + DAY, NOW), legal_basis=basis)
    assert file(broken) == SENT_WRONG | TOO_SHORT | {("/legal_basis/kind", "legal_basis")}


# --- Retention ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "gone"),
    [
        ("2026-11-01T12:00:00+08:00", "2031-11-01T00:00:00+08:00"),
        ("2026-11-01T17:00:00+00:00", "2031-11-02T00:00:00+08:00"),  # the 2nd in Shanghai
        ("2028-02-29T12:00:00+08:00", "2033-02-28T00:00:00+08:00"),
        ("2028-02-28T16:00:00+00:00", "2033-02-28T00:00:00+08:00"),  # the leap day in Shanghai
        ("2027-02-28T12:00:00+08:00", "2032-02-28T00:00:00+08:00"),
        ("2028-03-01T00:00:00+08:00", "2033-03-01T00:00:00+08:00"),
    ],
)
def test_record_must_be_gone_at_local_midnight_five_years_after_the_conduct(
    ended: str, gone: str
) -> None:
    assert retention_end(datetime.fromisoformat(ended), CN) == datetime.fromisoformat(gone)


def test_leap_day_never_keeps_a_record_longer() -> None:
    for years in range(1, 9):
        end = retention_end(
            datetime(2028, 2, 29, 3, tzinfo=UTC), replace(CN, retention_years=years)
        )
        assert end == datetime(2028 + years, 2, 28, tzinfo=CN.time_zone)


def test_conduct_older_than_may_be_kept_is_refused() -> None:
    old = replace(HONEST, conduct_ended_at=datetime(2021, 11, 22, 4, tzinfo=UTC))
    end = retention_end(old.conduct_ended_at, CN)
    assert end == datetime(2026, 11, 21, 16, tzinfo=UTC)
    sent = replace(old.notice, sent_at=end - 20 * DAY) if old.notice else None
    kept = replace(old, notice=sent)
    assert file(kept, at=end - TICK) == set()
    assert file(kept, at=end) == {("/conduct_ended_at", "retention")}
