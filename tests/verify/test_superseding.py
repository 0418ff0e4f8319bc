"""A package that is superseded while it is verified: one of the two is judged, never a mixture.

Belongs here: two whole packages that exchange their names all the time. Does not belong here: a package that is damaged
meanwhile (`test_folder.py`).
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from landscape_assets import verify
from landscape_assets.verify import verify_package

from . import build
from .build import KEY
from .small import small_run

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "renameat2"), reason="the system has no renameat2")

_EXCHANGE = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
one, two = map(os.fsencode, sys.argv[1:])
print(flush=True)
while True:
    if libc.renameat2(-100, one, -100, two, 2):
        sys.exit(os.strerror(ctypes.get_errno()))
    time.sleep(0.0005)
"""


@pytest.fixture(params=["small", "large"])
def superseded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, set[str]]]:
    """A package of which the name belongs to one of two packages in turn, and the SHA-256 of both manifests."""
    made = []
    for number, format in enumerate(("csv", "parquet")):
        records = small_run()
        records[0]["settings"] = {"attempt": number}
        if request.param == "large":
            more = [{**records[-1], "artifact_id": f"a{i:06}", "path_or_uri": "x" * 700} for i in range(9000)]
            records += more
        made.append(build.build(tmp_path / str(number), records, formats=("jsonl", format)))
    large = (made[0] / "records.jsonl").stat().st_size > verify.records_file.SINGLE_PROCESS_BELOW
    assert large == (request.param == "large")
    manifests = {build.hashlib.sha256((one / "manifest.json").read_bytes()).hexdigest() for one in made}
    process = subprocess.Popen([sys.executable, "-c", _EXCHANGE, *made], stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        yield made[0], manifests
        assert process.poll() is None, "the names were not exchanged to the end"
    finally:
        process.kill()
        process.communicate()


def test_one_package_is_judged(superseded: tuple[Path, set[str]], tmp_path: Path):
    """In this process and by the command: always verified, and each of the two was judged at some time."""
    package, manifests = superseded
    seen: set[str] = set()
    end = time.monotonic() + 3
    while time.monotonic() < end or seen != manifests:
        assert time.monotonic() < end + 60, "only one of the packages was ever seen"
        report = verify_package(package, key=KEY, processes=1)
        assert report.status == 0, report.to_text()
        seen.add(report.facts["manifest_sha256"])
    (tmp_path / "key").write_bytes(KEY)
    command = [sys.executable, "-m", "landscape_assets.verify", package, "--key-file", tmp_path / "key", "--json"]
    for _ in range(2):
        done = subprocess.run(command, check=False, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b""), done
        (report,) = json.loads(done.stdout)["packages"]
        assert report["facts"]["manifest_sha256"] in manifests
