"""JSON texts that two readers can't read differently.

It refuses what RFC 8259 leaves open: duplicate members, NaN and Infinity, numbers too large for
binary64, lone surrogates, a byte order mark, NUL characters, deep nesting. It knows no schema.
"""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

from ledger.errors import DuplicateMember, MalformedJson, NestingTooDeep, TooLarge

DEPTH_MAX = 16
BYTES_MAX = 65_536
# An unclosed string reaches to the end: nothing is ever scanned twice.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
_NO_STRUCTURE = bytes(range(256)).translate(None, b'[]{}"')
_OPENING = ord("[")
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(raw: bytes, *, depth_max: int = DEPTH_MAX, bytes_max: int = BYTES_MAX) -> object:
    """Parse one JSON text in UTF-8.

    *Raises*: TooLarge, NestingTooDeep, DuplicateMember, MalformedJson.
    """
    value = _decode(_PARSER, raw, depth_max, bytes_max)
    if b"\\u" in raw and _has_unwanted(value):
        raise MalformedJson("A string holds a NUL character or a lone surrogate.")
    return value


def check_json(raw: bytes, *, depth_max: int = DEPTH_MAX, bytes_max: int = BYTES_MAX) -> None:
    """Refuse what `parse_json` refuses, and build no value that another parser builds anyway."""
    if b"\\u" in raw:  # what an escape brings in is seen in the value alone
        parse_json(raw, depth_max=depth_max, bytes_max=bytes_max)
    else:
        _decode(_CHECKER, raw, depth_max, bytes_max)


def _decode(decoder: json.JSONDecoder, raw: bytes, depth_max: int, bytes_max: int) -> object:
    if len(raw) > bytes_max:
        raise TooLarge("The JSON text is longer than the limit.")
    _check_depth(raw, depth_max)
    try:
        value: object = decoder.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedJson("The text isn't UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise MalformedJson("The text isn't JSON.") from error
    return value


def _check_depth(raw: bytes, depth_max: int) -> None:
    if raw.count(b"[") + raw.count(b"{") <= depth_max:
        return  # as in most texts: it can't nest deeper than it opens
    outside = _STRINGS.sub(b"", raw) if b"\\" in raw else raw
    brackets = outside.translate(_AS_ARRAYS, _NO_STRUCTURE).replace(b'""', b"")
    if b'"' in brackets:  # some string holds a bracket; what is left of the quotes pairs as before
        brackets = b"".join(brackets.split(b'"')[::2])
    left = brackets
    for _ in range(depth_max):  # each round takes the innermost level away
        left = left.replace(b"[]", b"")
        if not left:
            return
    depth = 0
    for bracket in brackets:  # too deep, or unbalanced, which is for the parser to say
        depth += 1 if bracket == _OPENING else -1
        if depth > depth_max:
            raise NestingTooDeep("The JSON text nests deeper than the limit.")


def _build_unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateMember("An object names the same member twice.")
    return members


def _check_unique(pairs: list[tuple[str, object]]) -> None:
    _build_unique(pairs)  # and let go of it at once


def _refuse_constant(name: str) -> NoReturn:
    del name
    raise MalformedJson("The text holds a number that JSON doesn't have.")


def _finite(digits: str) -> float:
    """Read a number, but none that is too large for one reader and infinite to another."""
    value = float(digits)
    if math.isinf(value):
        raise MalformedJson("The text holds a number beyond the range of binary64.")
    return value


def _has_unwanted(value: object) -> bool:
    """Look for characters that only an escape can bring in."""
    if isinstance(value, str):
        return "\x00" in value or _SURROGATE.search(value) is not None
    if isinstance(value, dict):
        return any(_has_unwanted(k) or _has_unwanted(v) for k, v in value.items())
    if isinstance(value, list):
        return any(_has_unwanted(one) for one in value)
    return False


_PARSER, _CHECKER = (
    json.JSONDecoder(object_pairs_hook=hook, parse_constant=_refuse_constant, parse_float=_finite)
    for hook in (_build_unique, _check_unique)
)
