"""A fixed, spread-out part of `python -m tests.faults`.

Belongs here: running it, and its verdict. Does not belong here: what it tries (`__main__.py`), and the whole of it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .shim import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C compiler for the shim")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What the command said, by part."""
    command = [sys.executable, "-m", "tests.faults", "--spread", "661", "--json"]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], check=False, capture_output=True, text=True, timeout=600
    )
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("part", ["sample", "spill", "stored", "supersede", "log", "session"])
def test_a_fault_at_a_call_leaves_no_package_or_a_whole_one(report, part):
    """Killed, failed, cut short or changed at some call: nothing wrong is published, and the next export repairs it."""
    assert report[part]["problems"] == []
    assert sum(count for mode, count in report[part]["counts"].items() if mode != "calls") >= 4


@pytest.mark.parametrize("part", ["sample crashes", "supersede crashes"])
def test_a_crash_leaves_no_package_or_a_whole_one(report, part):
    """Whatever a file system may lose of what was not synced, what has the name of a package is one."""
    assert report[part]["problems"] == []
    assert report[part]["counts"]["of them with a package to be seen"] > 0
