"""Blinded identifiers and account pseudonyms: their text, their codes, their lookup keys.

It knows bytes and canonical forms. It never sees a phone number, except in `demo_token`, which
exists for sandbox ledgers. Every value here is personal data.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ledger.errors import InvalidIdentifier

if TYPE_CHECKING:
    from datetime import date

EPOCH_MAX = 65_535
# Half of the HMAC, as RFC 2104 §5 advises at least: two of a billion names have one key with a
# probability of 10^-21.
LOOKUP_KEY_BYTES = 16
_BLOCK = 64  # bytes of a block of SHA-256
# The last character holds four bits of the 32 bytes and two that are zero: one text a value.
_TEXT = re.compile(
    r"bcl1\.(0|[1-9][0-9]{0,4})\.([a-z]{2,8})\.([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])", re.ASCII
)
_FROM_URLSAFE = bytes.maketrans(b"-_", b"+/")

# The field and the constants of edwards25519 and ristretto255 (RFC 9496 §4.1).
_P = 2**255 - 19
_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
_SQRT_M1 = 19681161376707505956807079304988542015446066515923890162744021073123829784752


class Kind(StrEnum):
    """What two accounts may share, in the order in which links are multiplied."""

    code: int  # its stable number in the database; 0 is an account

    NID = "nid"
    PAY = "pay"
    DEVICE = "device"
    EMAIL = "email"
    PHONE = "phone"
    ADDR = "addr"

    def __init__(self, _: str) -> None:
        self.code = len(type(self).__members__) + 1

    @staticmethod
    def from_code(code: int) -> Kind:
        """Give the kind of a code."""
        return _KINDS[code]


_KINDS = {kind.code: kind for kind in Kind}
_KINDS_BY_NAME = {kind.value: kind for kind in Kind}


class Binding(StrEnum):
    """How a platform knows that an identifier belongs to the account."""

    code: int  # its stable number in the database

    NONE = "none"
    OBSERVED = "observed"
    OTP = "otp"
    PSP = "psp"
    REAL_NAME = "real_name"

    def __init__(self, _: str) -> None:
        self.code = len(type(self).__members__)

    @staticmethod
    def from_code(code: int) -> Binding:
        """Give the binding of a code."""
        return _BINDINGS[code]


_BINDINGS = {binding.code: binding for binding in Binding}


class Bucket(StrEnum):
    """How many of its accounts a platform sees on one identifier."""

    code: int  # its stable number in the database

    ONE = "1"
    FEW = "2-4"
    SEVERAL = "5-9"
    MANY = "10-49"
    CROWD = "50-499"
    MASS = "500+"

    def __init__(self, _: str) -> None:
        self.code = len(type(self).__members__)

    @property
    def lower_bound(self) -> int:
        """The smallest number of accounts in this bucket."""
        return _BOUNDS[self][0]

    @property
    def upper_bound(self) -> int | None:
        """The largest number of accounts in this bucket, or None where there is none."""
        return _BOUNDS[self][1]

    @staticmethod
    def from_code(code: int) -> Bucket:
        """Give the bucket of a code."""
        return _BUCKETS[code]


_BOUNDS: dict[Bucket, tuple[int, int | None]] = {
    Bucket.ONE: (1, 1),
    Bucket.FEW: (2, 4),
    Bucket.SEVERAL: (5, 9),
    Bucket.MANY: (10, 49),
    Bucket.CROWD: (50, 499),
    Bucket.MASS: (500, None),
}
_BUCKETS = {bucket.code: bucket for bucket in Bucket}


class Identifier(NamedTuple):
    """A kind, an epoch and the 32-byte blinded token."""

    kind: Kind
    epoch: int
    value: bytes


class AccountRef(NamedTuple):
    """One buyer account at one platform: its issuer and the platform's pseudonym for it."""

    iss: str
    sub: str


class IdentifierClaim(NamedTuple):
    """An identifier as a platform bound it to an account."""

    identifier: Identifier
    binding: Binding
    verified_on: date | None
    accounts_here: Bucket


def parse_identifier(text: str) -> Identifier:
    """Parse `bcl1.<epoch>.<kind>.<43 characters base64url>`.

    *Raises*: InvalidIdentifier unless the text is the canonical one of its value.
    """
    match = _TEXT.fullmatch(text)
    digits, name, token = match.groups() if match else ("0", "", "")
    kind, epoch = _KINDS_BY_NAME.get(name), int(digits)
    if kind is None or epoch > EPOCH_MAX:
        raise InvalidIdentifier("An identifier isn't of the form bcl1.<epoch>.<kind>.<token>.")
    value = binascii.a2b_base64(token.encode().translate(_FROM_URLSAFE) + b"=")
    return Identifier(kind, epoch, value)


def render_identifier(identifier: Identifier) -> str:
    """Render an identifier as its one text."""
    token = base64.urlsafe_b64encode(identifier.value).rstrip(b"=").decode()
    return f"bcl1.{identifier.epoch}.{identifier.kind.value}.{token}"


def check_epoch(identifier: Identifier, *, sandbox: bool) -> None:
    """Check that an identifier may be used in this ledger.

    Epoch 0 is for sandbox ledgers and for nothing else; from epoch 1 on the token is the
    canonical encoding of a ristretto255 element other than the identity (RFC 9496 §4.3.1).
    *Raises*: InvalidIdentifier.
    """
    if (identifier.epoch == 0) != sandbox:
        raise InvalidIdentifier("An identifier's epoch isn't accepted by this ledger.")
    if identifier.epoch and not _is_element(identifier.value):
        raise InvalidIdentifier("An identifier's token isn't a ristretto255 element.")


def _is_element(encoded: bytes) -> bool:
    """Decode as in RFC 9496 §4.3.1; the value is public, so time may depend on it."""
    s = int.from_bytes(encoded, "little")
    if s >= _P or s & 1 or s == 0:
        return False
    ss = s * s % _P
    u1 = (1 - ss) % _P
    u2 = (1 + ss) % _P
    u2_sqr = u2 * u2 % _P
    v = (-(_D * u1 * u1) - u2_sqr) % _P
    was_square, inverse = _invert_sqrt(v * u2_sqr % _P)
    den_x = inverse * u2 % _P
    den_y = inverse * den_x * v % _P
    x = 2 * s * den_x % _P
    x = _P - x if x & 1 else x
    y = u1 * den_y % _P
    t = x * y % _P
    return was_square and not t & 1 and y != 0


def _invert_sqrt(v: int) -> tuple[bool, int]:
    """Compute 1/sqrt(v) where it exists (SQRT_RATIO_M1 of RFC 9496 §4.2 with u = 1)."""
    r = pow(v, 3, _P) * pow(pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    check = v * r * r % _P
    correct = check == 1
    flipped = check == _P - 1
    flipped_i = check == (-_SQRT_M1) % _P
    if flipped or flipped_i:
        r = r * _SQRT_M1 % _P
    return correct or flipped, _P - r if r & 1 else r


def demo_token(kind: Kind, canonical: str) -> Identifier:
    """Make an epoch-0 token, which sandbox ledgers take before real blinding exists.

    Anybody can compute it from the plain value: never use it for people.
    """
    x = b"bcl/v1\x00" + kind.value.encode() + b"\x00" + canonical.encode()
    key = hashlib.sha256(b"bcl/v1/demo").digest()
    return Identifier(kind, 0, hmac.digest(key, x, "sha256"))


def lookup_key(index_key: bytes, identifier: Identifier) -> bytes:
    """Give the key under which an identifier is stored: of HMAC-SHA256(K, kind 00 token)."""
    return _derive_key(index_key, identifier.kind.encode() + b"\x00" + identifier.value)


def account_key(index_key: bytes, account: AccountRef) -> bytes:
    """Give the key under which an account is stored: of HMAC-SHA256(K, "acct" 00 iss 00 sub)."""
    return _derive_key(index_key, f"acct\x00{account.iss}\x00{account.sub}".encode())


def _derive_key(index_key: bytes, name: bytes) -> bytes:
    begun, ended = _begin_hmac(index_key)
    inner, outer = begun.copy(), ended.copy()
    inner.update(name)
    outer.update(inner.digest())
    return outer.digest()[:LOOKUP_KEY_BYTES]


@lru_cache(maxsize=8)
def _begin_hmac(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """Hash the padded key once for all names, as RFC 2104 §4 advises.

    For names so short most of the time of the standard `hmac` goes into the key.
    """
    block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\x00")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)
