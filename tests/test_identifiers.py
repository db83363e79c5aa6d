"""Blinded identifiers: one text for each value, elements only, and keys that keep kinds apart.

Vectors are those of RFC 9496 Appendix A (ristretto255), and those of RFC 9497 where they lie at
hand. Platform names are here too: they are the other half of an account's name.
"""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidIdentifier, InvalidInput
from ledger.identity.identifier import (
    EPOCH_MAX,
    AccountRef,
    Binding,
    Bucket,
    Identifier,
    Kind,
    account_key,
    check_epoch,
    demo_token,
    lookup_key,
    parse_identifier,
    render_identifier,
)
from ledger.identity.platform import check_platform_uri

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
VECTORS = ROOT.parent / "shared" / "vectors" / "voprf" / "ristretto255_sha512.json"
KEY = bytes(range(32))
P = 2**255 - 19  # the field of ristretto255
GENERATOR = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
VALUE = bytes.fromhex(GENERATOR)
IDENTIFIERS = st.builds(
    Identifier,
    st.sampled_from(Kind),
    st.integers(0, EPOCH_MAX),
    st.binary(min_size=32, max_size=32),
)
NAMES = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=20)


# --- The text -------------------------------------------------------------------------------


@given(IDENTIFIERS)
def test_identifier_comes_back_from_its_text(identifier: Identifier) -> None:
    text = render_identifier(identifier)
    assert parse_identifier(text) == identifier
    assert text.startswith(f"bcl1.{identifier.epoch}.{identifier.kind}.")


@given(IDENTIFIERS)
def test_last_character_has_sixteen_meanings_and_no_second_spelling(identifier: Identifier) -> None:
    text = render_identifier(identifier)
    parsed = []
    for last in ALPHABET:
        try:
            parsed.append(parse_identifier(text[:-1] + last))
        except InvalidIdentifier:
            # 43 characters hold 258 bits: the two that 32 bytes leave over must be zero.
            assert ALPHABET.index(last) % 4
    assert len(set(parsed)) == 16
    assert [render_identifier(one) for one in parsed].count(text) == 1


@given(IDENTIFIERS, st.integers(0, 60), st.sampled_from(ALPHABET + ".= +/\n\u0661\u0435"))
def test_text_with_one_character_changed_is_another_value_or_none(
    identifier: Identifier, place: int, character: str
) -> None:
    text = render_identifier(identifier)
    changed = text[:place] + character + text[place + 1 :]
    try:
        parsed = parse_identifier(changed)
    except InvalidIdentifier:
        return
    assert render_identifier(parsed) == changed
    assert (parsed == identifier) == (changed == text)


TOKEN = render_identifier(Identifier(Kind.PHONE, 7, VALUE)).rpartition(".")[2]
MISSPELT = {
    "empty": "",
    "token_alone": TOKEN,
    "other_version": f"bcl2.7.phone.{TOKEN}",
    "prefix_in_capitals": f"BCL1.7.phone.{TOKEN}",
    "kind_in_capitals": f"bcl1.7.PHONE.{TOKEN}",
    "kind_unknown": f"bcl1.7.face.{TOKEN}",
    "kind_of_an_account": f"bcl1.7.acct.{TOKEN}",
    "kind_missing": f"bcl1.7.{TOKEN}",
    "epoch_with_leading_zero": f"bcl1.07.phone.{TOKEN}",
    "epoch_signed": f"bcl1.+7.phone.{TOKEN}",
    "epoch_negative": f"bcl1.-7.phone.{TOKEN}",
    "epoch_missing": f"bcl1..phone.{TOKEN}",
    "epoch_beyond_16_bits": f"bcl1.65536.phone.{TOKEN}",
    "epoch_of_many_digits": f"bcl1.{'9' * 5000}.phone.{TOKEN}",
    "epoch_in_arabic_digits": f"bcl1.\u0667.phone.{TOKEN}",
    "token_padded": f"bcl1.7.phone.{TOKEN}=",
    "token_short": f"bcl1.7.phone.{TOKEN[:-1]}",
    "token_long": f"bcl1.7.phone.{TOKEN}A",
    "token_in_standard_base64": f"bcl1.7.phone.+/{TOKEN[2:]}",
    "spare_bits_set": f"bcl1.7.phone.{TOKEN[:-1]}Z",
    "leading_space": f" bcl1.7.phone.{TOKEN}",
    "trailing_newline": f"bcl1.7.phone.{TOKEN}\n",
    "trailing_nul": f"bcl1.7.phone.{TOKEN}\x00",
    "two_lines": f"bcl1.7.phone.{TOKEN}\nbcl1.7.phone.{TOKEN}",
    "plain_number": "+8613800000001",
}


@pytest.mark.parametrize("name", MISSPELT)
def test_misspelt_identifier_is_refused_without_being_repeated(name: str) -> None:
    with pytest.raises(InvalidIdentifier) as caught:
        parse_identifier(MISSPELT[name])
    assert TOKEN not in caught.value.detail
    assert "138" not in caught.value.detail


# --- Epochs and elements --------------------------------------------------------------------

# RFC 9496 Appendix A.1: B[1], B[2], B[3], B[7], B[15].
MULTIPLES = (
    GENERATOR,
    "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
    "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d",
    "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e",
)


def little(s: int) -> str:
    """Encode s as ristretto255 does, also where it isn't less than the prime."""
    return s.to_bytes(32, "little").hex()


# RFC 9496 Appendix A.1, B[0], and from each group of Appendix A.2; and what only one rule refuses.
NO_ELEMENTS = {
    "identity": "00" * 32,
    "s_beyond_the_field": "00" + "ff" * 31,
    "s_of_255_ones": "ff" * 31 + "7f",
    "s_is_the_prime_plus_six": "f3" + "ff" * 30 + "7f",
    "s_is_the_prime": "ed" + "ff" * 30 + "7f",
    "s_is_an_element_plus_the_prime_twice": little(2 * P + 4),
    "s_is_one": "01" + "00" * 31,
    "s_is_minus_that_of_the_generator": little(P - int.from_bytes(VALUE, "little")),
    "s_is_negative": "01" + "ff" * 30 + "7f",
    "s_is_negative_too": "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "x_squared_is_no_square": "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "nor_here": "de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad7b",
    "xy_is_negative": "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    "here_too": "445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b",
    "y_is_zero": "ec" + "ff" * 30 + "7f",
}


@pytest.mark.parametrize("encoded", MULTIPLES)
@pytest.mark.parametrize("epoch", [1, EPOCH_MAX])
def test_multiple_of_the_generator_is_an_element(encoded: str, epoch: int) -> None:
    check_epoch(Identifier(Kind.PHONE, epoch, bytes.fromhex(encoded)), sandbox=False)


@pytest.mark.parametrize("name", NO_ELEMENTS)
def test_bytes_that_encode_no_element_are_refused(name: str) -> None:
    value = bytes.fromhex(NO_ELEMENTS[name])
    with pytest.raises(InvalidIdentifier):
        check_epoch(Identifier(Kind.PHONE, 1, value), sandbox=False)


def test_elements_of_rfc_9497_are_elements() -> None:
    if not VECTORS.exists():
        pytest.skip("The vectors of RFC 9497 don't lie beside the repository.")
    suites = json.loads(VECTORS.read_text("utf-8"))
    vectors = [one for suite in suites for one in suite["vectors"]]
    texts = [one[name] for one in vectors for name in ("BlindedElement", "EvaluationElement")]
    encoded = [one for text in texts for one in text.split(",")]
    assert encoded
    for one in encoded:
        check_epoch(Identifier(Kind.PHONE, 1, bytes.fromhex(one)), sandbox=False)


def test_epoch_zero_is_for_sandboxes_and_a_sandbox_takes_nothing_else() -> None:
    demo, real = demo_token(Kind.PHONE, "+8613800000001"), Identifier(Kind.PHONE, 1, VALUE)
    check_epoch(demo, sandbox=True)
    check_epoch(Identifier(Kind.PHONE, 0, bytes(32)), sandbox=True)
    for identifier, sandbox in ((demo, False), (real, True)):
        with pytest.raises(InvalidIdentifier):
            check_epoch(identifier, sandbox=sandbox)


def test_demo_token_is_the_published_function_of_kind_and_value() -> None:
    key = hashlib.sha256(b"bcl/v1/demo").digest()
    expected = hmac.digest(key, b"bcl/v1\x00phone\x00+8613800000001", "sha256")
    assert demo_token(Kind.PHONE, "+8613800000001") == Identifier(Kind.PHONE, 0, expected)
    assert len({demo_token(kind, "1").value for kind in Kind}) == len(Kind)


# --- Keys of the database -------------------------------------------------------------------


def test_lookup_key_is_half_an_hmac_over_kind_and_token() -> None:
    expected = hmac.digest(KEY, b"phone\x00" + VALUE, "sha256")[:16]
    assert lookup_key(KEY, Identifier(Kind.PHONE, 7, VALUE)) == expected


@given(st.binary(max_size=200), NAMES, NAMES)
def test_account_key_is_the_hmac_of_the_library_for_secrets_of_any_length(
    secret: bytes, iss: str, sub: str
) -> None:
    name = f"acct\x00{iss}\x00{sub}".encode()
    expected = hmac.digest(secret, name, "sha256")[:16]
    assert account_key(secret, AccountRef(iss, sub)) == expected


@given(IDENTIFIERS)
def test_one_token_has_another_lookup_key_under_every_kind_and_secret(
    identifier: Identifier,
) -> None:
    kinds = {lookup_key(KEY, Identifier(kind, identifier.epoch, identifier.value)) for kind in Kind}
    assert len(kinds) == len(Kind)
    assert lookup_key(KEY, identifier) != lookup_key(KEY[::-1], identifier)


def test_account_key_is_half_an_hmac_over_platform_and_pseudonym() -> None:
    expected = hmac.digest(KEY, b"acct\x00https://shop-a.example\x00acct-1", "sha256")[:16]
    assert account_key(KEY, AccountRef("https://shop-a.example", "acct-1")) == expected


@given(NAMES, NAMES, NAMES, NAMES)
def test_accounts_share_a_key_only_where_platform_and_pseudonym_agree(
    iss: str, sub: str, other_iss: str, other_sub: str
) -> None:
    one, other = AccountRef(iss, sub), AccountRef(other_iss, other_sub)
    assert (account_key(KEY, one) == account_key(KEY, other)) == (one == other)
    moved = AccountRef(iss + sub, "")  # the border between the two names counts
    assert (account_key(KEY, one) == account_key(KEY, moved)) == (sub == "")


@given(IDENTIFIERS, NAMES, NAMES)
def test_no_account_is_filed_under_an_identifier(
    identifier: Identifier, iss: str, sub: str
) -> None:
    assert account_key(KEY, AccountRef(iss, sub)) != lookup_key(KEY, identifier)


# --- Codes ----------------------------------------------------------------------------------


CODES: dict[type[Kind | Binding | Bucket], dict[str, int]] = {
    # Among kinds, 0 is an account.
    Kind: {"nid": 1, "pay": 2, "device": 3, "email": 4, "phone": 5, "addr": 6},
    Binding: {"none": 0, "observed": 1, "otp": 2, "psp": 3, "real_name": 4},
    Bucket: {"1": 0, "2-4": 1, "5-9": 2, "10-49": 3, "50-499": 4, "500+": 5},
}


@pytest.mark.parametrize("words", CODES)
def test_word_has_the_number_that_stands_in_databases(words: type[Kind | Binding | Bucket]) -> None:
    codes = {word.value: word.code for word in words}
    assert codes == CODES[words]
    assert [words.from_code(code) for code in codes.values()] == list(words)


def test_buckets_cover_every_count_once() -> None:
    for count in range(1, 1001):
        hit = [b for b in Bucket if b.lower_bound <= count <= (b.upper_bound or count)]
        assert len(hit) == 1


# --- Names of platforms ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "https://shop-a.example",
        "https://shop-a.example:8443",
        "https://xn--fiq228c.example/cn/main_site",
        "https://localhost/sandbox",
    ],
)
def test_plain_https_url_names_a_platform(name: str) -> None:
    check_platform_uri(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "shop-a.example",
        "http://shop-a.example",
        "HTTPS://shop-a.example",
        "https://Shop-A.example",
        "https://shop-a.example/",
        "https://shop-a.example:",
        "https://shop-a.example:0443",
        "https://shop-a.example:port",
        "https://@shop-a.example",
        "https://user:word@shop-a.example",
        "https://shop-a.example?",
        "https://shop-a.example/a?b=c",
        "https://shop-a.example#",
        "https://shop-a.example//a",
        "https://shop-a.example/../a",
        "https://shop-a.example/.",
        "https://shop-a.example\\a",
        "https://shop-a.example/%61",
        "https://shop-a..example",
        "https://shop-a.example\n",
        "https://shop a.example",
        "https://sh\u043ep-a.example",
        "https://[::1]",
        "https://",
        "https://" + "a" * 193,
    ],
)
def test_second_spelling_of_a_url_names_no_platform(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_platform_uri(name)
