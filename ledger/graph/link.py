"""Links: who counts as the same person, how strong a shared identifier is, and when it is a hub.

- The same person: `nid` shared, or `phone` and one more of `pay`, `email`, `device`, each bound by
  verified means at both platforms and on no more accounts than its free number.
- Everything else that is shared is association, and is never chained.
- A token on more accounts than its kind's cap is a hub and links nobody, unless each group above
  the cap declared how many of its accounts are on it and a third of them bear incidents.

Kinds, bindings and buckets are their stable numbers here: a question looks at hundreds of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ledger.identity.identifier import LOOKUP_KEY_BYTES, Binding, Bucket, Kind

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

CROWD_SEEN_MAX = 499
_CLAIM_BYTES = LOOKUP_KEY_BYTES + 3
NID, ADDR = Kind.NID.code, Kind.ADDR.code

_VERIFIED = {
    Kind.NID: {Binding.REAL_NAME},
    Kind.PHONE: {Binding.OTP, Binding.REAL_NAME},
    Kind.EMAIL: {Binding.OTP},
    Kind.PAY: {Binding.PSP},
    Kind.DEVICE: {Binding.OBSERVED, Binding.OTP, Binding.PSP, Binding.REAL_NAME},
    Kind.ADDR: set(),
}
# Pairs of a kind and the binding that verifies it; a device is only observed.
VERIFIED = frozenset(
    (kind.code, binding.code) for kind, bindings in _VERIFIED.items() for binding in bindings
)
LOWER_BOUNDS = tuple(bucket.lower_bound for bucket in Bucket)
UPPER_BOUNDS = tuple(bucket.upper_bound for bucket in Bucket)
_PHONE = Kind.PHONE.code
_SECONDS = (Kind.PAY.code, Kind.EMAIL.code, Kind.DEVICE.code)


class KindRule(NamedTuple):
    """How a kind links. *Units*: `strength` in micro-units; `cap` None means never a hub."""

    strength: int
    free: int
    cap: int | None


class Presented(NamedTuple):
    """One identifier as the asker presents it, by its lookup key, in codes."""

    key: bytes
    kind: int
    binding: int
    bucket: int


def bind_claims(presented: Iterable[Presented]) -> bytes:
    """Give what an order is bound to: each identifier with how and on how many it is bound.

    If these could change from question to question, each identifier's own points would show.
    *Shape*: 19 bytes each, sorted: lookup key, kind, binding, bucket.
    """
    return b"".join(
        sorted([one.key + bytes((one.kind, one.binding, one.bucket)) for one in presented])
    )


def split_claims(bound: bytes) -> tuple[Presented, ...]:
    """Give what `bind_claims` was given."""
    starts = range(0, len(bound), _CLAIM_BYTES)
    return tuple(
        [
            Presented(one[:LOOKUP_KEY_BYTES], *one[LOOKUP_KEY_BYTES:])
            for one in (bound[at : at + _CLAIM_BYTES] for at in starts)
        ]
    )


class GroupCount(NamedTuple):
    """What is known of one platform group on one token: accounts seen, declared bucket."""

    seen: int
    bucket: int
    bucket_index: int = 0


def is_same_person(shared: Container[int]) -> bool:
    """Tell whether the kinds that are verified on both sides make two accounts one person's."""
    return NID in shared or (_PHONE in shared and any(kind in shared for kind in _SECONDS))


def count_accounts(
    groups: Mapping[str, GroupCount], asker_group: str, asker_bucket: int, *, absent: bool
) -> dict[str, int]:
    """Count the accounts on a token, for each group; n is the largest.

    *Shape*: the asker counts itself where it is `absent` from its group. Of other groups'
    declarations the second-largest counts, so that no member alone launders a ring.
    """
    own = groups.get(asker_group)
    seen = (own.seen if own else 0) + (1 if absent else 0)
    counted = {asker_group: max(seen, LOWER_BOUNDS[asker_bucket])}
    declared = [LOWER_BOUNDS[one.bucket] for name, one in groups.items() if name != asker_group]
    confirmed = sorted(declared)[-2] if len(declared) > 1 else 0
    for name, one in groups.items():
        if name != asker_group:
            counted[name] = max(one.seen, min(LOWER_BOUNDS[one.bucket], confirmed))
    return counted


def is_hub(
    groups: Mapping[str, GroupCount],
    counted: Mapping[str, int],
    asker_group: str,
    asker_bucket: int,
    cap: int,
) -> bool:
    """Tell whether a token links nobody: some group above the cap can't vouch for it."""
    for name, number in counted.items():
        if number <= cap:
            continue
        known = groups.get(name)
        seen = known.seen if known else 0
        bucket = known.bucket if known and name != asker_group else asker_bucket
        upper = UPPER_BOUNDS[bucket]
        if upper is None or seen > CROWD_SEEN_MAX or 3 * seen < upper:
            return True
    return False
