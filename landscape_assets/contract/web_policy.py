"""What the lists of a web plugin policy must keep (contract v071, section 4).

Belongs here: rules within these lists and between them. Does not belong here: the table itself (`v071.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

PLUGIN_IDS = ("authorized_plugin_ids_json", "available_plugin_ids_json")
CONTROL_MODES = "control_modes_json"
IMPLEMENTATIONS = "selected_implementations_json"
ALIASES = "selected_profile_aliases_json"
CODE = "plugin_code_identities_json"
DECISIONS = "decision_codes_json"

_PLUGIN_ID = re.compile(r"(source|transform|sink):[a-z][a-z0-9_]*")
_ALIAS = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_DECISION = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MOST_OF_DECISION = 64
_SOURCE_HASH = re.compile(r"sha256:[0-9a-f]{16}")
_NUMBER = "(0|[1-9][0-9]*)"
_IDENTIFIERS = r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_IDENTIFIERS})?(\+{_IDENTIFIERS})?")
"""A semantic version (https://semver.org)."""

_CAPABILITIES = ("llm", "prompt_shield", "content_safety")
_MODES = ("recommend", "required")

MEANING = (
    "the lists are sorted and have nothing twice; plugins are named `source:`, `transform:` or `sink:` and a name; "
    "what is available is authorized, as are the plugins that have profile aliases or code identities; each capability "
    "has at most one implementation, which is available; control modes, aliases, versions, source hashes and decision "
    "codes are well-formed"
)

Fault = tuple[str, str]
_Item = tuple[object, ...]


def find_fault(values: Mapping[str, object]) -> Fault | None:
    """What is wrong with the lists of one policy.

    Args:
        values: column → its parsed value.

    Returns:
        The column at fault, and the rule that it breaks, as the end of a sentence; None where all is well.
    """
    return next(_faults(values), None)


def _faults(values: Mapping[str, object]) -> Iterator[Fault]:
    lists: dict[str, list[_Item]] = {}
    for column, shape in _SHAPES.items():
        found = values[column]
        items = [_item(item) for item in found] if isinstance(found, list) else [None]
        if any(item is None or len(item) != len(shape) for item in items):
            yield column, f"which is not a list of {_NAMES[len(shape)]}"
            return
        lists[column] = [item for item in items if item is not None]
        for item in lists[column]:
            for part, is_right in zip(item, shape, strict=True):
                if not is_right(part):
                    yield column, f"in which {part!r} is not what may be there"
        shown = [repr(item[0] if len(item) == 1 else item) for item in lists[column]]
        if len(set(shown)) != len(shown):
            yield column, "in which something occurs twice"
        if shown != sorted(shown):
            yield column, "which is not sorted"
    authorized, available = ({item[0] for item in lists[column]} for column in PLUGIN_IDS)
    if not available <= authorized:
        yield PLUGIN_IDS[1], "in which a plugin is not authorized"
    capabilities = [item[0] for item in lists[IMPLEMENTATIONS]]
    if len(set(capabilities)) != len(capabilities):
        yield IMPLEMENTATIONS, "in which a capability has two implementations"
    if not {item[1] for item in lists[IMPLEMENTATIONS]} - {None} <= available:
        yield IMPLEMENTATIONS, "in which a plugin is not available"
    for column in (ALIASES, CODE):
        if not {item[0] for item in lists[column]} <= authorized:
            yield column, "in which a plugin is not authorized"
    if not lists[DECISIONS]:
        yield DECISIONS, "which is empty"


def _item(value: object) -> _Item | None:
    """An element of a list: a text by itself, or the parts of a list of texts and nulls."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and len(value) > 1 and all(part is None or isinstance(part, str) for part in value):
        return tuple(value)
    return None


def _matches(pattern: re.Pattern[str], most: int | None = None, *, nullable: bool = False) -> Callable[[object], bool]:
    def is_right(part: object) -> bool:
        if part is None:
            return nullable
        return isinstance(part, str) and pattern.fullmatch(part) is not None and (most is None or len(part) <= most)

    return is_right


def _one_of(*known: str) -> Callable[[object], bool]:
    return lambda part: part in known


_is_plugin = _matches(_PLUGIN_ID)

_SHAPES: dict[str, tuple[Callable[[object], bool], ...]] = {
    PLUGIN_IDS[0]: (_is_plugin,),
    PLUGIN_IDS[1]: (_is_plugin,),
    CONTROL_MODES: (_one_of(*_CAPABILITIES), _one_of(*_MODES)),
    IMPLEMENTATIONS: (_one_of(*_CAPABILITIES), _matches(_PLUGIN_ID, nullable=True)),
    ALIASES: (_is_plugin, _matches(_ALIAS, nullable=True)),
    CODE: (_is_plugin, _matches(_VERSION), _matches(_SOURCE_HASH)),
    DECISIONS: (_matches(_DECISION, _MOST_OF_DECISION),),
}
"""Column → for each part of an element of its list, whether a value may be there."""

_NAMES = {1: "text", 2: "pairs of text", 3: "triples of text"}
