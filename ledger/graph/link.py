"""Links: who counts as the same person, how strong a shared identifier is, and when it is a hub.

- The same person: `nid` shared, or `phone` and one more of `pay`, `email`, `device`, each bound by
  verified means at both platforms and on no more accounts than its free number.
- Everything else that is shared is association, and is never chained.
- A token on more accounts than its kind's cap is a hub and links nobody, unless each group above
  the cap declared how many of its accounts are on it and a third of them bear incidents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.identity.identifier import Binding, Bucket, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CROWD_SEEN_MAX = 499

# The code of a posting's binding that counts as verified, by kind; a device is only observed.
_VERIFIED = {
    Kind.NID: {Binding.REAL_NAME},
    Kind.PHONE: {Binding.OTP, Binding.REAL_NAME},
    Kind.EMAIL: {Binding.OTP},
    Kind.PAY: {Binding.PSP},
    Kind.DEVICE: {Binding.OBSERVED, Binding.OTP, Binding.PSP, Binding.REAL_NAME},
    Kind.ADDR: frozenset(),
}
_SECOND = frozenset({Kind.PAY, Kind.EMAIL, Kind.DEVICE})


@dataclass(frozen=True, slots=True)
class KindRule:
    """How a kind links. *Units*: `strength` in micro-units; `cap` None means never a hub."""

    strength: int
    free: int
    cap: int | None


@dataclass(frozen=True, slots=True)
class Presented:
    """One identifier as the asker presents it, by its lookup key."""

    key: bytes
    kind: Kind
    binding: Binding
    bucket: Bucket


@dataclass(frozen=True, slots=True)
class GroupCount:
    """What is known of one platform group on one token: accounts seen, declared bucket."""

    seen: int
    bucket: Bucket | None


def is_verified(kind: Kind, binding: Binding) -> bool:
    """Tell whether a binding is by verified means for its kind."""
    return binding in _VERIFIED[kind]


def is_same_person(shared: Iterable[Kind]) -> bool:
    """Tell whether identifiers verified on both sides make two accounts one person's."""
    kinds = set(shared)
    return Kind.NID in kinds or (Kind.PHONE in kinds and bool(kinds & _SECOND))


def count_accounts(
    groups: Mapping[str, GroupCount], asker_group: str, asker_bucket: Bucket, *, absent: bool
) -> tuple[int, dict[str, int]]:
    """Count the accounts on a token.

    *Shape*: n, and per group the number that the hub rule tests. The asker counts itself where
    it is `absent` from its group. Of other groups' declarations the second-largest counts, so
    that no member alone launders a ring.
    """
    seen = {name: one.seen for name, one in groups.items()}
    seen[asker_group] = seen.get(asker_group, 0) + (1 if absent else 0)
    declared = sorted(
        (
            one.bucket.lower_bound
            for name, one in groups.items()
            if name != asker_group and one.bucket is not None
        ),
        reverse=True,
    )
    confirmed = declared[1] if len(declared) > 1 else 0
    tested = dict(seen)
    for name, one in groups.items():
        if name != asker_group and one.bucket is not None:
            tested[name] = max(seen[name], min(one.bucket.lower_bound, confirmed))
    tested[asker_group] = max(seen[asker_group], asker_bucket.lower_bound)
    return max(tested.values()), tested


def is_hub(
    groups: Mapping[str, GroupCount],
    tested: Mapping[str, int],
    asker_group: str,
    asker_bucket: Bucket,
    cap: int,
) -> bool:
    """Tell whether a token links nobody: some group above the cap can't vouch for it."""
    for name, number in tested.items():
        if number <= cap:
            continue
        known = groups.get(name)
        declared = known.bucket if known else None
        bucket = asker_bucket if name == asker_group else declared
        seen = known.seen if known else 0
        if bucket is None or bucket.upper_bound is None or seen > CROWD_SEEN_MAX:
            return True
        if 3 * seen < bucket.upper_bound:
            return True
    return False
