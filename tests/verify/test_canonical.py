"""The verifier's own canonical encoder and strict reader, against the reference package, the RFC's numbers, and
hostile input.

Belongs here: JSON, without records.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from landscape_assets.verify.canonical import JsonFault, canonical, number, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)


@given(VALUES)
def test_equals_the_reference(value: object):
    assert canonical(value) == rfc8785.dumps(value)


@given(VALUES)
def test_what_is_canonical_reads_back(value: object):
    form = canonical(value)
    assert canonical(parse(form)) == form


@given(VALUES, st.sampled_from([{"indent": 1}, {"ensure_ascii": True}, {"sort_keys": True, "separators": (",", ": ")}]))
def test_other_forms_of_a_value_have_the_same_canonical_form(value: object, style: dict):
    assert canonical(parse(json.dumps(value, **style).encode())) == canonical(value)


@pytest.mark.parametrize(
    ("bits", "text"),
    [  # RFC 8785, appendix B
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_of_the_rfc(bits: str, text: str):
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert number(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**53, "\ud800", {"\ud800": 1}, {1: 2}])
def test_what_has_no_canonical_form(value: object):
    with pytest.raises(ValueError):
        canonical(value)


def spread_out_numbers(count: int) -> Iterator[float]:
    """Finite doubles with all signs, exponents and lengths, the same ones each time."""
    block = b""
    while count:
        block = hashlib.sha256(block).digest()
        for (value,) in struct.iter_unpack(">d", block):
            if math.isfinite(value) and count:
                count -= 1
                yield value


def test_many_numbers():
    for value in spread_out_numbers(20_000):
        text = number(value)
        assert text.encode() == rfc8785.dumps(value)
        assert float(text) == value


@pytest.mark.parametrize("exponent", range(-25, 26))
def test_numbers_where_the_notation_changes(exponent: int):
    for digits in ("1", "9", "12", "123456789012345", "99999999999999999"):
        value = float(f"{digits}e{exponent}")
        for near in (math.nextafter(value, 0), value, math.nextafter(value, math.inf), -value):
            assert number(near).encode() == rfc8785.dumps(near)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xef\xbb\xbf{}", "encoding"),
        (b'"\xff"', "encoding"),
        (b'"\xed\xa0\x80"', "encoding"),
        (b'"\xc0\xaf"', "encoding"),
        (b'{"a":1,"a":1}', "repeated key"),
        (rb'{"a":1,"\u0061":2}', "repeated key"),
        (b'[{"x":{"a":1,"b":2,"a":3}}]', "repeated key"),
        (b"NaN", "json"),
        (b"-Infinity", "json"),
        (b"1e400", "json"),
        (b"9" * 10_000, "json"),
        (b"-" + b"9" * 400, "json"),
        (rb'"\ud800"', "json"),
        (rb'{"\udfff":1}', "json"),
        (rb'"\ude00\ud83d"', "json"),
        (b"[" * 100_000, "json"),
        (b'{"a":' * 100_000, "json"),
        (b"[" * 257 + b"]" * 257, "json"),
        (b'["' + b"[" * 300 + b'",' + b"[" * 300, "json"),
        (b"", "json"),
        (b"{}{}", "json"),
        (b"{'a':1}", "json"),
        (b"[1,]", "json"),
        (b"01", "json"),
        (b'"\n"', "json"),
    ],
)
def test_hostile_text(data: bytes, kind: str):
    with pytest.raises(JsonFault) as caught:
        parse(data)
    assert caught.value.kind == kind
    assert len(str(caught.value)) < 300


def test_brackets_in_strings_are_not_nesting():
    assert parse(b'["' + b"[{" * 300 + b'"]') == ["[{" * 300]
    assert canonical(parse(b"[" * 256 + b"]" * 256)) == b"[" * 256 + b"]" * 256
