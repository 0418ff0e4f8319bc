"""Text of others on a page, and numbers for people.

Belongs here: what is shown in place of characters that are not seen, or that change how others are seen; how long
values are cut; how numbers, durations and times are written. Markup is escaped by the template engine, everywhere. Does
not belong here: text on a terminal (`printable.py`).
"""

from __future__ import annotations

import unicodedata
from datetime import datetime

NOTHING = "\N{EN DASH}"
"""What is shown where there is nothing."""

_MINUS = "\N{MINUS SIGN}"
_MARKS_IN_A_ROW = 3
"""Combining marks that one letter may have; more of them would be drawn over the lines around it."""


def visible(text: object, limit: int = 120, *, tell: bool = True) -> str:
    """A text on one line: characters that cannot be seen or steer the direction of writing as ⟦U+202E⟧, and cut with
    its length told.

    Args:
        text: any text; None is an en dash.
        limit: characters shown, those of ⟦U+202E⟧ counted one by one.
        tell: whether the length of a text that is cut is told; where there is no room for it, a table tells it.
    """
    if text is None:
        return NOTHING
    given = str(text)
    if given == "":
        return "(empty)"
    if len(given) <= limit and given.isascii() and given.isprintable() and not given.isspace():
        return given  # as nearly all are
    shown: list[str] = []
    marks = length = 0
    is_blank = given[:limit].isspace()
    for character in given:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        is_seen = character.isprintable() and marks <= _MARKS_IN_A_ROW and not is_blank
        piece = character if is_seen else f"⟦U+{ord(character):04X}⟧"
        length += len(piece)
        if length > limit:
            shown.append(f"… ({len(given):,} characters)" if tell else "…")
            break
        shown.append(piece)
    return "".join(shown)


def visible_lines(text: str, limit: int) -> str:
    """As `visible`, with line ends kept; of each line 2,000 characters at most."""
    lines: list[str] = []
    left = limit
    for line in text[:limit].split("\n"):
        shown = visible(line, 2000) if line else ""
        left -= len(shown) + 1
        if left < 0:
            break
        lines.append(shown)
    if left < 0 or len(text) > limit:
        lines.append(f"… ({len(text):,} characters)")
    return "\n".join(lines)


def whole(number: float) -> str:
    """A whole number, with separators."""
    return f"{int(number):,}"


def short(number: int) -> str:
    """A whole number in a few characters, for pictures; from 10,000 on with three figures."""
    if number < 10_000:
        return f"{number:,}"
    value, units = float(number), ["k", "M", "G", "T"]
    value /= 1000
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.{0 if value >= 99.95 else 1}f} {units[0]}"


def share(part: float, whole_number: float) -> str:
    """A part in per cent; what is not 0 or all is never shown as such."""
    if not whole_number:
        return NOTHING
    value = 100 * part / whole_number
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{value:.1f} %".replace(".0 %", " %")


def duration(milliseconds: float | None) -> str:
    """A duration with three figures or to the second."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 0:
        return f"{_MINUS}{duration(-milliseconds)}"
    if milliseconds > 1e16:
        return "> 300,000 years"
    if milliseconds == 0:
        return "0 ms"
    for unit, size in (("µs", 0.001), ("ms", 1.0), ("s", 1000.0)):
        value = milliseconds / size
        if value < (60 if unit == "s" else 1000):
            digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
            return f"{value:.{digits}f} {unit}"
    seconds = round(milliseconds / 1000)
    days, seconds = divmod(seconds, 86400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    if days:
        return f"{days:,} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"


def size(count: int) -> str:
    """A number of bytes."""
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{count:,} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"


def moment(time: datetime | None) -> str:
    """A time to the second, with its offset where it has one."""
    if time is None:
        return NOTHING
    offset = time.strftime("%z")
    zone = "" if not offset else " UTC" if offset == "+0000" else f" {offset}"
    return f"{time.year:04}-{time:%m-%d %H:%M:%S}{zone}"
