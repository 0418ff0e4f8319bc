"""Text of others on a terminal.

Belongs here: the rule for what is shown as it is. The verifier has the same rule, and a copy of its own
(`verify/report.py`).
"""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with everything that could steer a terminal, or end a line, escaped as Python writes it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
