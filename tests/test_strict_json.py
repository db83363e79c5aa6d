"""JSON that two readers can't read differently: what is refused, and the rest is read whole."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.errors import DuplicateMember, InvalidInput, MalformedJson, NestingTooDeep, TooLarge
from ledger.strict_json import BYTES_MAX, DEPTH_MAX, check_json, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable


def test_json_is_read_as_it_was_written() -> None:
    raw = b' {"a": [1, -2.5e3, "\\u00e9\\n", true, false, null], "b": {}} \r\n'
    assert parse_json(raw) == {"a": [1, -2500.0, "é\n", True, False, None], "b": {}}


characters = st.characters(codec="utf-8", exclude_characters="\x00")
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(characters), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(values, st.booleans())
def test_whatever_json_dumps_makes_is_read_back_equal(value: object, ensure_ascii: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ensure_ascii).encode()
    assert parse_json(raw, depth_max=64, bytes_max=10**6) == value


# Texts of which many are refused: twins by name or by escape, what is no number, no character.
_LEAVES = rb'1 1e999 NaN x "a" "\u00e9" "\u0000" "\ud800"'.split()
_NAMES = st.sampled_from([rb'"a":', rb'"b":', rb'"\u0061":'])
doubtful = st.recursive(
    st.sampled_from(_LEAVES),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda some: b"[%b]" % b",".join(some))
        | st.lists(st.tuples(_NAMES, inner).map(b"".join), max_size=3).map(
            lambda some: b"{%b}" % b",".join(some)
        )
    ),
)


def refusal(read: Callable[..., object], raw: bytes) -> tuple[type, str] | None:
    try:
        read(raw, depth_max=4, bytes_max=100)
    except InvalidInput as error:
        return type(error), str(error)
    return None


@settings(deadline=None, max_examples=1000)
@given(doubtful)
@example(b'{"a":{"a":1,"a":1}}')
@example(b"[[[[[]]]]]")
@example(b"[" + b"1," * 50 + b"1]")
def test_checking_refuses_what_parsing_refuses_and_nothing_else(raw: bytes) -> None:
    assert refusal(check_json, raw) == refusal(parse_json, raw)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_no_bytes_do_worse_than_a_refusal(raw: bytes) -> None:
    try:
        value = parse_json(raw)
    except MalformedJson:
        return
    assert json.loads(raw) == value


# --- Members named twice --------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": 1, "b": 2, "a": 3}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"\\u00e9": 1, "\xc3\xa9": 2}',
        b'{"\\ud83d\\ude00": 1, "\xf0\x9f\x98\x80": 2}',
        b'{"": 1, "": 2}',
        b'{"x": {"y": [0, {"a": 1, "a": 2}]}}',
        b'[{"a": {}, "a": {}}]',
    ],
)
def test_member_named_twice_is_refused_however_deep_or_spelled(raw: bytes) -> None:
    with pytest.raises(DuplicateMember):
        parse_json(raw)


def test_same_name_in_different_objects_is_no_duplicate() -> None:
    raw = b'{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}], "A": 1}'
    assert parse_json(raw) == {"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}], "A": 1}


# --- Depth and length -----------------------------------------------------------------------


def test_nesting_is_read_to_the_limit_and_refused_beyond_it() -> None:
    parse_json(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)
    parse_json(b'{"a":' * DEPTH_MAX + b"1" + b"}" * DEPTH_MAX)
    for opening, middle, closing in ((b"[", b"", b"]"), (b'{"a":', b"1", b"}")):
        with pytest.raises(NestingTooDeep):
            parse_json(opening * (DEPTH_MAX + 1) + middle + closing * (DEPTH_MAX + 1))


def test_objects_beside_each_other_are_not_deep() -> None:
    raw = b"[" + b",".join([b"[]", b"{}"] * 500) + b"]"
    assert parse_json(raw, depth_max=2) == [[], {}] * 500


@pytest.mark.parametrize(
    "raw",
    [
        b'["[[[[[[{{{{{{"]',
        b'["\\"[[[[[["]',
        b'["\\\\", "[[[[[["]',
        b'{"[[[[": "]]]]{{{{"}',
        b'["\\\\\\"[[[[{{{{"]',
        b'["\xe2\x80\x9c[[[["]',
    ],
)
def test_brackets_inside_strings_do_not_nest(raw: bytes) -> None:
    assert parse_json(raw, depth_max=1) == json.loads(raw)


@pytest.mark.parametrize("raw", [b'["\\\\",[[1]]]', b'["a",[["b"]]]', b'["\\"",[["\\""]]]'])
def test_brackets_behind_strings_do_nest(raw: bytes) -> None:
    assert parse_json(raw, depth_max=3) == json.loads(raw)
    with pytest.raises(NestingTooDeep):
        parse_json(raw, depth_max=2)


brackets = st.text('[]{}":,\\a', max_size=4)
nests = st.recursive(
    brackets | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(brackets, inner, max_size=3),
    max_leaves=12,
)


def measure_depth(value: object) -> int:
    """Measure the depth of a value by walking it."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(measure_depth, value), default=0) if isinstance(value, list) else 0


@settings(deadline=None)
@given(nests, st.integers(0, 4))
def test_depth_is_that_of_the_value_whatever_its_strings_hold(value: object, limit: int) -> None:
    raw = json.dumps(value).encode()
    if measure_depth(value) <= limit:
        assert parse_json(raw, depth_max=limit) == value
    else:
        with pytest.raises(NestingTooDeep):
            parse_json(raw, depth_max=limit)


@pytest.mark.parametrize(
    "raw", [b"[" * 30_000, b'{"a":' * 10_000, b'"' + b"[" * 30_000, b'"\\' * 30_000, b"]" * 30_000]
)
def test_unclosed_nesting_is_refused_without_a_crash(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_json(raw)
    with pytest.raises(MalformedJson):
        parse_json(raw, depth_max=10**6)


def test_text_is_read_to_the_limit_and_refused_beyond_it() -> None:
    longest = b'"' + b"a" * (BYTES_MAX - 2) + b'"'
    assert parse_json(longest) == "a" * (BYTES_MAX - 2)
    with pytest.raises(TooLarge):
        parse_json(longest + b" ")
    with pytest.raises(TooLarge):
        parse_json(b"[1]", bytes_max=2)


# --- Numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_number_that_json_does_not_have_is_refused(number: str) -> None:
    for raw in (number, f"[{number}]", f'{{"a": {number}}}'):
        with pytest.raises(MalformedJson):
            parse_json(raw.encode())


@pytest.mark.parametrize("number", ["1e309", "-1e309", "1e999999", f"1{'0' * 400}.0"])
def test_number_that_would_be_read_as_infinite_is_refused(number: str) -> None:
    with pytest.raises(MalformedJson):
        parse_json(f"[{number}]".encode())


def test_largest_and_smallest_numbers_are_read() -> None:
    raw = f"[{sys.float_info.max!r}, {sys.float_info.min!r}, 1e-999, -0.0]".encode()
    assert parse_json(raw) == [sys.float_info.max, sys.float_info.min, 0.0, 0.0]


def test_integer_is_read_exactly_as_far_as_python_reads_digits() -> None:
    most = sys.get_int_max_str_digits()
    assert parse_json(b"9" * most) == 10**most - 1
    for raw in (b"9" * (most + 1), b"[-" + b"9" * 60_000 + b"]"):
        with pytest.raises(MalformedJson):
            parse_json(raw)


@pytest.mark.parametrize("raw", [b"01", b"+1", b"1.", b".5", b"1e", b"0x10", b"1_000", b"- 1"])
def test_number_in_another_spelling_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_json(raw)


# --- Characters -----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_in_another_encoding_or_with_a_byte_order_mark_is_refused(encoding: str) -> None:
    for text in ("{}", '{"a": 1}', "1"):
        with pytest.raises(MalformedJson):
            parse_json(text.encode(encoding))


@pytest.mark.parametrize(
    "raw",
    [
        b'"\xff"',
        b'"\x80"',
        b'"\xc3"',  # cut short
        b'"\xc0\xaf"',  # an overlong slash
        b'"\xed\xa0\x80"',  # a surrogate
        b'"\xf4\x90\x80\x80"',  # beyond U+10FFFF
        b'{"\xe9": 1}',
    ],
)
def test_bytes_that_are_not_utf_8_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_json(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'"a\x00b"',
        b'"a\\u0000b"',
        b'{"a\\u0000": 1}',
        b'[[{"a": ["\\u0000"]}]]',
        b"\x00",
        b"1\x00",
        b"\x00{}",
    ],
)
def test_null_character_is_refused_raw_or_escaped_wherever_it_stands(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_json(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'"\\ud800"',
        b'"\\udfff"',
        b'"\\uDC00\\uD800"',
        b'"\\ud83d \\ude00"',
        b'"\\ud83dx"',
        b'{"\\ud800": 1}',
        b'[{"a": {"b": "\\udc00"}}]',
    ],
)
def test_lone_surrogate_is_refused_wherever_it_stands(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_json(raw)


def test_pair_of_surrogates_and_an_escaped_backslash_are_fine() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"
    assert parse_json(b'"\\\\u0000 \\\\ud800"') == "\\u0000 \\ud800"


@pytest.mark.parametrize("raw", [b'"a\nb"', b'"a\tb"', b'"a\x1fb"', b'"\\x41"', b'"\\U0041"'])
def test_control_character_or_unknown_escape_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_json(raw)


# --- One text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{} {}",
        b"{}x",
        b"1 2",
        b'{"a": 1},',
        b"[1,]",
        b'{"a": 1,}',
        b"{a: 1}",
        b"{'a': 1}",
        b"// a comment\n{}",
        b"True",
        b'"a',
        b'{"a"',
        b"[1",
        b"{}\xc2\xa0",
        b"{}\x0c",
    ],
)
def test_anything_but_one_whole_text_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_json(raw)


@pytest.mark.parametrize(
    "raw", [b'{"secret": 1, "secret": 2}', b'"secret\\u0000"', b"[secret]", b'"\xffsecret"']
)
def test_refusal_never_repeats_what_was_sent(raw: bytes) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_json(raw)
    assert "secret" not in str(refusal.value)
