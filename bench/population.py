"""An invented society that claims refunds: people, homes, accounts, and who is truly behind each.

It knows the truth that no platform knows, draws everything from one seed, and judges nobody. What
people do doesn't depend on any answer (an open loop): an offender who is recognised goes on, so
that recognition is measured on the same claims whatever the policy.
"""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.link import Presented
from ledger.identity.identifier import Binding, Bucket, Kind
from ledger.incident.taxonomy import Conduct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NEVER = 10**6


class Standing(StrEnum):
    """Who somebody truly is."""

    HONEST = "honest"
    ALONE = "alone"  # an offender with accounts of their own
    RING = "ring"  # one of a few people behind many disposable accounts
    CLIENT = "client"  # lets a refund service file on their account
    OPERATOR = "operator"  # runs a refund service


@dataclass(frozen=True, slots=True)
class Rates:
    """Every number of the society. Shares are of one; `judgement` where no source was found."""

    people: int = 20_000
    first_day: int = 19_723  # 2024-01-01, the epoch of the policy
    days: int = 730
    platforms: tuple[float, ...] = (30, 25, 18, 12, 9, 6)  # market shares: judgement
    # Homes. Census of China 2020: 2.62 people a household, 119 of 1,412 million outside of one.
    family_sizes: tuple[float, ...] = (25, 30, 21, 13, 11)  # of 1 to 5: judgement around that mean
    flats: float = 0.12  # of homes with flatmates instead of a family: judgement
    flat_sizes: tuple[float, ...] = (0, 40, 35, 20, 5)  # of 1 to 5: judgement
    dormitory: float = 0.08  # of people
    dormitory_size: tuple[int, int] = (200, 1500)  # beds under one address: judgement
    locker: float = 0.3  # of accounts that also use a parcel locker's address: judgement
    locker_people: int = 400  # people around one locker: judgement
    # Accounts, and what platforms know of them: judgement. Mailboxes are left out as too rare.
    accounts: tuple[float, ...] = (20, 25, 25, 20, 10)  # on 1 to 5 platforms
    phone: float = 0.98  # an account is opened with a mobile number
    phone_otp: float = 0.95  # verified by a code, else merely typed in
    device: float = 0.75  # the rest show an id that no other platform sees
    pay: float = 0.85
    nid: float = 0.25
    nid_verified: float = 0.8
    second: float = 0.12  # an identifier that the person uses on no other account
    # What honest people share: judgement.
    tablet: float = 0.25  # families of two or more with a tablet that several use
    tablet_user: float = 0.6  # members who use it
    tablet_account: float = 0.5  # accounts of a user that were seen on it
    family_card: float = 0.15  # families in which one member also pays with another's card
    family_phone: float = 0.03  # families in which one member's accounts are on another's phone
    flat_device: float = 0.03  # flats with a device that several use
    # Offenders. Appriss Retail 2023 tells of one with 113 customer ids and 105 mailboxes in 119
    # claims, and of more than 1,600 advertisements of refund services. The numbers are judgement.
    alone: float = 0.01  # of people
    alone_claims: float = 5.0  # false claims a year of one
    rings: float = 0.0003  # for each person
    ring_people: tuple[int, int] = (2, 4)
    ring_accounts: tuple[int, int] = (15, 60)
    ring_devices: tuple[int, int] = (3, 8)
    ring_cards: tuple[int, int] = (4, 10)
    ring_life_days: int = 60  # of a disposable account
    ring_claims: tuple[int, int] = (1, 4)  # false claims on each
    services: float = 0.0002  # for each person
    service_clients: tuple[int, int] = (10, 40)
    service_devices: tuple[int, int] = (1, 3)
    client_claims: float = 2.0  # false claims a year of a client
    # Numbers that get another owner: judgement. Lee and Narayanan 2021: of 259 numbers on offer 171
    # were still tied to accounts of their former owners.
    number_dropped: float = 0.3  # of offenders' numbers, given up within the time
    number_rests_days: int = 90
    # Claims and what becomes of them.
    honest_claims: float = 0.5  # refund-only claims a year of an account: judgement
    amount_yuan: tuple[int, int] = (20, 500)  # small tickets are the method: the project's brief
    detected: float = 0.3  # false claims that a platform confirms: judgement
    mistaken: float = 0.0005  # honest claims that it confirms as false: judgement
    decided_days: tuple[int, int] = (18, 45)  # 15 days to respond, then a decision: judgement
    # One platform that lies, for a while: judgement, but for the share.
    liar: int = 3  # the platform by its place above
    liar_victims: float = 0.01  # of its honest buyers, at random: the project's brief
    liar_reports: int = 3  # about each
    liar_day: int = 400  # when it files them all
    liar_overturned_day: int = 560  # when they are taken back


class Token(NamedTuple):
    """An identifier: the code of its kind, and its lookup key."""

    kind: int
    key: bytes


class Holding(NamedTuple):
    """What an account is known by, and when."""

    token: Token
    binding: int
    since: int
    until: int


@dataclass(slots=True)
class Account:
    """One account at one platform, by its lookup key; `person` is who truly acts."""

    key: bytes
    platform: int
    person: int
    holdings: list[Holding] = field(default_factory=list)


@dataclass(slots=True)
class Person:
    """One person. `own` are the usual identifiers; disposable accounts aren't listed."""

    home: int
    standing: Standing = Standing.HONEST
    accounts: list[int] = field(default_factory=list)
    own: dict[Kind, Token] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Home:
    """People at one address, a family, a flat or a dormitory."""

    kind: str
    people: range
    address: Token


class Claim(NamedTuple):
    """One refund-only claim. *Units*: `minor` are fen."""

    day: int
    account: int
    malicious: bool
    minor: int
    conduct: Conduct


# Judgement; the first punished case was a forged video.
_CONDUCTS = [Conduct.EVIDENCE_FORGED_AI] * 9 + [Conduct.EVIDENCE_FORGED_EDIT] * 4
_CONDUCTS += [Conduct.NONRECEIPT_FALSE] * 3 + [Conduct.MISSING_ITEM_FALSE, Conduct.EMPTY_RETURN] * 2
_PHONE, _NID = Kind.PHONE.code, Kind.NID.code
_USUAL = ((Kind.DEVICE, Binding.OBSERVED), (Kind.PAY, Binding.PSP), (Kind.PHONE, Binding.OTP))
_BINDINGS = {kind.code: one.code for kind, one in (*_USUAL, (Kind.NID, Binding.REAL_NAME))}
_LOWER_BOUNDS = [bucket.lower_bound for bucket in Bucket]


class Population:
    """The society: what is true, what is claimed, and what platforms report, each on its day."""

    def __init__(self, rates: Rates, seed: int) -> None:
        """Draw everything."""
        self.rates = rates
        self.random = Random(seed)  # noqa: S311 - a society is drawn, no secret is
        self.people: list[Person] = []
        self.homes: list[Home] = []
        self.accounts: list[Account] = []
        self.claims: list[Claim] = []
        self._tokens = 0
        self._crowds = defaultdict[tuple[bytes, int], list[tuple[int, int]]](list)
        self._settle_homes()
        for number in range(rates.people):
            self._open_accounts(number)
        for home in self.homes:
            self._share_at_home(home)
        self._draw_offenders()
        for one in (account for person in self.people for account in person.accounts):
            for day in self._arrivals(rates.first_day, rates.honest_claims):
                self.claims.append(self._claim(day, one, malicious=False))
        self.claims.sort()
        self.reports = self._decide()
        self.lies = self._lie()
        for account in self.accounts:
            for held in account.holdings:
                crowd = self._crowds[held.token.key, account.platform]
                crowd.append((held.since, held.until))

    def _hits(self, share: float) -> bool:
        return self.random.random() < share

    def _pick(self, weights: Sequence[float]) -> int:
        return self.random.choices(range(len(weights)), weights)[0]

    def _times(self, bounds: tuple[int, int]) -> range:
        return range(self.random.randint(*bounds))

    def _some(self, share: float) -> range:
        return range(max(1, round(share * self.rates.people)))

    def _token(self, kind: Kind) -> Token:
        self._tokens += 1
        return Token(kind.code, f"{kind} {self._tokens}".encode())

    def _arrivals(self, first: int, yearly: float) -> Iterator[int]:
        """Draw the days of a Poisson process."""
        at = first + self.random.expovariate(yearly / 365)
        while at < self.rates.first_day + self.rates.days:
            yield int(at)
            at += self.random.expovariate(yearly / 365)

    def _some_day(self, latest: float = 1.0) -> int:
        return self.rates.first_day + int(self.rates.days * latest * self.random.random())

    def _claim(self, day: int, account: int, *, malicious: bool) -> Claim:
        low, high = self.rates.amount_yuan
        minor = int(100 * low * (high / low) ** self.random.random())
        return Claim(day, account, malicious, minor, self.random.choice(_CONDUCTS))

    def _settle_homes(self) -> None:
        rates = self.rates
        beds = int(rates.dormitory * rates.people)
        while len(self.people) < rates.people:
            if len(self.people) < beds:
                kind, size = "dormitory", self.random.randint(*rates.dormitory_size)
                size = min(size, beds - len(self.people))
            elif self._hits(rates.flats):
                kind, size = "flat", 1 + self._pick(rates.flat_sizes)
            else:
                kind, size = "family", 1 + self._pick(rates.family_sizes)
            people = range(rates.people)[len(self.people) : len(self.people) + size]
            self.people += [Person(len(self.homes)) for _ in people]
            self.homes.append(Home(kind, people, self._token(Kind.ADDR)))

    def _open_accounts(self, number: int) -> None:
        rates, person = self.rates, self.people[number]
        known = {Kind.PHONE: rates.phone, Kind.DEVICE: rates.device, Kind.PAY: rates.pay}
        person.own = {kind: self._token(kind) for kind in (*known, Kind.NID)}
        shares = list(rates.platforms)
        locker = Token(Kind.ADDR.code, b"locker %d" % (number // rates.locker_people))
        for _ in range(1 + self._pick(rates.accounts)):
            account = self._open(self._pick(shares), number)
            shares[account.platform] = 0
            person.accounts.append(len(self.accounts) - 1)
            for kind, share in known.items():
                if self._hits(share):
                    is_second = self._hits(rates.second)
                    self._hold(account, self._token(kind) if is_second else person.own[kind])
            if self._hits(rates.nid):
                self._hold(account, person.own[Kind.NID])
            self._hold(account, self.homes[person.home].address)
            if self._hits(rates.locker):
                self._hold(account, locker)

    def _open(self, platform: int, person: int) -> Account:
        account = Account(b"account %d" % len(self.accounts), platform, person)
        self.accounts.append(account)
        return account

    def _hold(self, account: Account, token: Token, since: int = 0) -> None:
        """Let a platform know an account by an identifier, verified as its kind mostly is."""
        if any(one.token == token for one in account.holdings):
            return
        binding = _BINDINGS.get(token.kind, Binding.NONE.code)
        sure = {_PHONE: self.rates.phone_otp, _NID: self.rates.nid_verified}
        if token.kind in sure and not self._hits(sure[token.kind]):
            binding = Binding.NONE.code
        account.holdings.append(Holding(token, binding, since, NEVER))

    def _share_at_home(self, home: Home) -> None:
        rates = self.rates
        if len(home.people) == 1 or home.kind == "dormitory":
            return
        is_family = home.kind == "family"
        if self._hits(rates.tablet if is_family else rates.flat_device):
            tablet = self._token(Kind.DEVICE)
            users = [self.people[one] for one in home.people if self._hits(rates.tablet_user)]
            for account in (one for user in users for one in user.accounts):
                if self._hits(rates.tablet_account):
                    self._hold(self.accounts[account], tablet)
        giver, taker = self.random.sample(home.people, 2)
        if is_family and self._hits(rates.family_card):
            for account in self.people[taker].accounts:
                self._hold(self.accounts[account], self.people[giver].own[Kind.PAY])
        if is_family and self._hits(rates.family_phone):
            self._change_number(taker, self.people[giver].own[Kind.PHONE], 0)

    def _change_number(self, person: int, number: Token, day: int) -> None:
        """Let all accounts of a person know a new number in the place of the old ones."""
        for account in (self.accounts[one] for one in self.people[person].accounts):
            for place, held in enumerate(account.holdings):
                if held.token.kind == number.kind and held.until == NEVER:
                    account.holdings[place] = held._replace(until=day)
            self._hold(account, number, day)

    def _draw_offenders(self) -> None:
        """Give parts to people at random, nobody two, and draw their false claims."""
        rates = self.rates
        waiting = self.random.sample(range(rates.people), rates.people)
        for _ in self._some(rates.alone):
            self._act_alone(waiting.pop(), Standing.ALONE, waiting)
        for _ in self._some(rates.rings):
            self._form_ring([waiting.pop() for _ in self._times(rates.ring_people)], waiting)
        for _ in self._some(rates.services):
            clients = [waiting.pop() for _ in self._times(rates.service_clients)]
            self._run_service(waiting.pop(), clients, waiting)

    def _act_alone(self, number: int, standing: Standing, others: list[int]) -> None:
        person = self.people[number]
        person.standing = standing
        for day in self._arrivals(self._some_day(0.7), self.rates.alone_claims):
            self.claims.append(
                self._claim(day, self.random.choice(person.accounts), malicious=True)
            )
        if self._hits(self.rates.number_dropped):
            dropped = self._some_day()
            self._change_number(number, self._token(Kind.PHONE), dropped)
            self._pass_on(person.own[Kind.PHONE], dropped, others)

    def _pass_on(self, number: Token, dropped: int, others: list[int]) -> None:
        """Give a dropped number to somebody who stays honest, once it has rested."""
        rested = dropped + self.rates.number_rests_days
        if others and rested < self.rates.first_day + self.rates.days:
            self._change_number(others.pop(0), number, rested)

    def _form_ring(self, members: list[int], others: list[int]) -> None:
        rates = self.rates
        devices = [self._token(Kind.DEVICE) for _ in self._times(rates.ring_devices)]
        cards = [self._token(Kind.PAY) for _ in self._times(rates.ring_cards)]
        drop = self._token(Kind.ADDR)
        for number in members:
            self.people[number].standing = Standing.RING
        for _ in self._times(rates.ring_accounts):
            opened = self._some_day(0.9)
            account = self._open(self._pick(rates.platforms), self.random.choice(members))
            phone, place = self._token(Kind.PHONE), len(self.accounts) - 1
            for token in (phone, self.random.choice(devices), self.random.choice(cards), drop):
                self._hold(account, token, opened)
            for _ in self._times(rates.ring_claims):
                day = opened + self.random.randrange(rates.ring_life_days)
                if day < rates.first_day + rates.days:
                    self.claims.append(self._claim(day, place, malicious=True))
            if self._hits(rates.number_dropped):
                self._pass_on(phone, opened + rates.ring_life_days, others)

    def _run_service(self, operator: int, clients: list[int], others: list[int]) -> None:
        rates = self.rates
        devices = [self._token(Kind.DEVICE) for _ in self._times(rates.service_devices)]
        self._act_alone(operator, Standing.OPERATOR, others)
        for account in self.people[operator].accounts:
            self._hold(self.accounts[account], devices[0])
        for number in clients:
            self.people[number].standing = Standing.CLIENT
            for day in self._arrivals(self._some_day(0.8), rates.client_claims):
                account = self.random.choice(self.people[number].accounts)
                self._hold(self.accounts[account], self.random.choice(devices), day)
                filed = self._claim(day, account, malicious=True)
                self.claims.append(filed._replace(conduct=Conduct.REFUND_SERVICE_CLIENT))

    def _decide(self) -> list[tuple[int, Claim]]:
        """Confirm some false claims and, by mistake, a few honest ones."""
        last = self.rates.first_day + self.rates.days
        wait = self.rates.decided_days
        shares = {True: self.rates.detected, False: self.rates.mistaken}
        found = [claim for claim in self.claims if self._hits(shares[claim.malicious])]
        decided = [(claim.day + self.random.randint(*wait), claim) for claim in found]
        return sorted((day, claim) for day, claim in decided if day < last)

    def _lie(self) -> list[tuple[int, Claim]]:
        """Let one platform report honest buyers of its own; nobody else knows."""
        rates, day = self.rates, self.rates.first_day + self.rates.liar_day
        honest = [one for one in self.people if one.standing is Standing.HONEST]
        places = [place for person in honest for place in person.accounts]
        buyers = [one for one in places if self.accounts[one].platform == rates.liar]
        victims = self.random.sample(buyers, max(1, round(rates.liar_victims * len(buyers))))
        told = [self._claim(day - 20, one, malicious=False) for one in victims]
        return [(day, one) for one in told for _ in range(rates.liar_reports)]

    def person_of(self, account: int) -> Person:
        """Give the person who truly acts through an account."""
        return self.people[self.accounts[account].person]

    def present(self, number: int, day: int) -> tuple[Presented, ...]:
        """Present an account as its honest platform does on a day, with its true buckets."""
        account = self.accounts[number]
        presented = []
        for token, binding, since, until in account.holdings:
            if since <= day < until:
                crowd = self._crowds[token.key, account.platform]
                count = sum(first <= day < last for first, last in crowd)
                bucket = bisect(_LOWER_BOUNDS, count) - 1
                presented.append(Presented(token.key, token.kind, binding, bucket))
        return tuple(presented)
