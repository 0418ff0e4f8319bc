"""Strict JSON in, canonical JSON out: RFC 8259 as narrowed by RFC 7493 (I-JSON), and RFC 8785 (JCS).

Belongs here: reading JSON that may be hostile, and writing the canonical form of any JSON value. Does not belong here:
what the values mean.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

from .limits import MAX_INTEGER, RECORD_DEPTH

_quoted = json.JSONEncoder(ensure_ascii=False).encode
"""A text as a JSON string; it escapes exactly what RFC 8785, 3.2.2.2 says."""

_ASTRAL = re.compile("[\ud800-\udfff\U00010000-\U0010ffff]")
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A string or a bracket outside one. A string that is never closed reaches to the end: that takes as long as the text,
where one that did not match would be looked for again from each later quotation mark."""


class JsonFault(ValueError):
    """Bytes that are not an acceptable JSON text. `kind` is `encoding`, `repeated key` or `json`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def number(value: float) -> str:
    """The ECMAScript form of a double (RFC 8785, 3.2.2.3; ECMA-262, Number::toString).

    Args:
        value: any float.

    Returns:
        The shortest digits that read back as the same double; no exponent where 1e-6 <= |value| < 1e21.

    Raises:
        ValueError: NaN or infinite.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not a JSON number")
    if value == 0:
        return "0"
    text = repr(value)  # the same shortest digits, in another notation
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, exponent = text.split("e")
    sign = "-" if mantissa.startswith("-") else ""
    digits = mantissa.lstrip("-").replace(".", "").rstrip("0")
    point = int(exponent) + 1  # the decimal point stands after this many digits
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def canonical(value: object) -> bytes:
    """The canonical form of a JSON value (RFC 8785).

    Args:
        value: None, bool, int, float, str, list or dict with text keys, nested.

    Returns:
        UTF-8 bytes.

    Raises:
        ValueError: NaN, an infinite number, an integer beyond ±(2^53-1), a lone surrogate, or a key that is not text.
        TypeError: a value of another type.
    """
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts).encode("utf-8")  # a lone surrogate is a UnicodeEncodeError, which is a ValueError


def _write(value: object, put: Callable[[str], None]) -> None:
    if value is None:
        put("null")
    elif value is True:
        put("true")
    elif value is False:
        put("false")
    elif isinstance(value, str):
        put(_quoted(value))
    elif isinstance(value, float):
        put(number(value))
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise ValueError(f"the integer {value} is beyond ±(2^53-1)")
        put(str(value))
    elif isinstance(value, list):
        put("[")
        for index, item in enumerate(value):
            if index:
                put(",")
            _write(item, put)
        put("]")
    elif isinstance(value, dict):
        put("{")
        for index, key in enumerate(sorted_keys(value)):
            if index:
                put(",")
            put(_quoted(key))
            put(":")
            _write(value[key], put)
        put("}")
    else:
        raise TypeError(f"{type(value).__name__} is not a JSON type")


def sorted_keys(value: dict[str, object]) -> list[str]:
    """The keys of an object by UTF-16 code units (RFC 8785, 3.2.3). Raises ValueError for a key that is not text."""
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"the key {key!r} is not text")
        if _ASTRAL.search(key):  # only then do code points and UTF-16 code units sort differently
            return sorted(value, key=lambda name: name.encode("utf-16-be"))
    return sorted(value)


def parse(data: bytes, max_depth: int = RECORD_DEPTH) -> object:
    """Read one JSON text, strictly.

    Args:
        data: the text.
        max_depth: greatest nesting of arrays and objects.

    Returns:
        The value. Every number is a float, integers too: that is what a number means in canonical JSON (RFC 8785,
        3.2.2.3), so a canonical text is one that `canonical` gives back, whatever its size.

    Raises:
        JsonFault: not UTF-8, a byte order mark, no JSON, a key twice, NaN or an infinite number, nesting past
            `max_depth`,
            a lone surrogate.
    """
    if data.startswith(b"\xef\xbb\xbf"):
        raise JsonFault("encoding", "begins with a byte order mark")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonFault("encoding", f"is not UTF-8 at byte {error.start}") from None
    # Brackets are counted before the recursive parser sees them; their number alone is an upper bound that costs
    # little.
    if data.count(b"[") + data.count(b"{") > max_depth and _is_deeper(data, max_depth):
        raise JsonFault("json", f"is nested deeper than {max_depth} levels")
    try:
        value = _DECODER.decode(text)
    except JsonFault:
        raise
    except RecursionError:
        raise JsonFault("json", "is nested too deeply") from None
    except ValueError as error:
        raise JsonFault("json", f"is not JSON: {error}") from None
    if "\\u" in text and _has_surrogate(value):
        raise JsonFault("json", "holds a lone surrogate")
    return value


def _is_deeper(data: bytes, limit: int) -> bool:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(data):
        first = data[match.start()]
        if first in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def _finite(token: str) -> float:
    value = float(token)
    if not math.isfinite(value):
        raise JsonFault("json", f"holds the number {token[:40]}, which is too large")
    return value


def _no_constant(name: str) -> float:
    raise JsonFault("json", f"holds {name}, which is not a JSON number")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonFault("repeated key", f"has the key {key[:80]!r} twice in one object")
            seen.add(key)
    return value


_DECODER = json.JSONDecoder(
    parse_int=_finite, parse_float=_finite, parse_constant=_no_constant, object_pairs_hook=_object
)


def _has_surrogate(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
