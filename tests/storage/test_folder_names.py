"""run_ids as folder names (docs/package.md, «Folder name»): any text to one name, and back.

Belongs here: the mapping alone. Does not belong here: exporting under such names (`../cli/test_run_ids.py`).
"""

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from landscape_assets.storage.names import folder_name, run_id_of

run_ids = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.text(".~%/\\", max_size=6),
    st.text("é%", min_size=15, max_size=130),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=60, max_size=300),
)


@given(run_ids)
@example("")
@example(".")
@example("..")
@example("x" * 200)
@example("x" * 201)
@example("x" * 119 + "é" * 50)
@example("x" * 118 + "é" * 50)
@example("%~" + "0" * 64)
def test_a_name_maps_back(run_id):
    """Decoding gives the run_id again; a name that was cut says so, and has the run_id's hash at its end."""
    name = folder_name(run_id)
    if len(name) > 200 or "%~" in name:
        assert run_id_of(name) is None
        assert name.endswith("%~" + hashlib.sha256(run_id.encode()).hexdigest())
    else:
        assert run_id_of(name) == run_id


@given(run_ids)
def test_a_name_is_one_harmless_component(run_id):
    """The name is short ASCII without a separator, is not hidden, and is no way out of the folder."""
    name = folder_name(run_id)
    assert re.fullmatch(r"(?!\.)(%[0-9A-F]{2}|[A-Za-z0-9_.~-])+(%~[0-9a-f]{64})?|%", name)
    assert len(name) <= 200
    folder = Path("/exports")
    assert (folder / name).resolve().parent == folder


@given(run_ids, run_ids)
@example("a%2Fb", "a/b")
@example("%", "")
@example(".", "%2E")
@example("UPPER", "upper")
@example("x" * 300, "x" * 301)
def test_names_differ_where_run_ids_do(one, other):
    """No two run_ids have the same name."""
    assert (folder_name(one) == folder_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("run_id", "name"),
    [
        ("complaints-2026-11-03", "complaints-2026-11-03"),
        ("", "%"),
        (".", "%2E"),
        ("..", "%2E."),
        ("../evil", "%2E.%2Fevil"),
        ("a...b", "a...b"),
        ("C:\\run", "C%3A%5Crun"),
        ("run[1]*", "run%5B1%5D%2A"),
        ("run%2F1", "run%252F1"),
        ("-rf", "-rf"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("~", "~"),
    ],
)
def test_the_names_of_the_specification(run_id, name):
    """Names as docs/package.md has them, written down."""
    assert folder_name(run_id) == name


def test_a_long_name_is_cut_between_encoded_bytes():
    """120 bytes are kept, fewer when the cut would fall inside a %XX."""
    assert folder_name("é" * 100).startswith("%C3%A9" * 20 + "%~")
    assert folder_name("x" + "é" * 100).startswith("x" + "%C3%A9" * 19 + "%C3%~")
    assert len(folder_name("x" * 200)) == 200
    assert len(folder_name("x" * 201)) == 120 + 2 + 64
