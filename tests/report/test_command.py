"""The command `report`: a page from a package, from records.jsonl alone, and from a folder of packages.

Belongs here: what it reads, writes and refuses. Does not belong here: figures (`test_figures.py`), and the pages in a
browser (`tests/browser/test_report.py`).
"""

import json
import re

import pytest
from support.exporter import content
from support.hostile import records, write_records
from support.pipeline import make_files
from support.report import body
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN

from landscape_assets.records.sign import SigningKey
from landscape_assets.report.page import MAX_BYTES


@pytest.fixture
def package(exporter, sample):
    formats = [f"--format={name}" for name in ("jsonl", "csv", "parquet")]
    assert exporter.export(sample, f"--run-id={COMPLETED_RUN}", *formats).exit_code == 0
    return exporter.output / COMPLETED_RUN


def test_a_package_without_a_report_gets_one_from_its_records(exporter, package, sample, tmp_path):
    """It says the same of the run as the one that an export makes, and is not put into the package."""
    before = content(package)
    assert exporter.run("report", package, "-o", tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text("utf-8")
    _, files = make_files(sample, COMPLETED_RUN, tmp_path / "made", SigningKey("k" * 20, None), "html")
    assert body(page) == body(files["report.html"].facts.path.read_text("utf-8"))
    manifest = json.loads((package / "manifest.json").read_bytes())
    for told in (manifest["final_hash"], manifest["signing"]["key_id"], manifest["exported_at"], "does not list it"):
        assert told in page
    assert content(package) == before
    again = exporter.run("report", package, "-o", tmp_path / "again.html")
    assert again.exit_code == 0
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "page.html").read_bytes()


def test_records_alone_suffice(exporter, package, tmp_path):
    """No manifest, nothing else: what only the manifest tells is not known, and the page says so."""
    assert exporter.run("report", package, "-o", tmp_path / "page.html").exit_code == 0
    alone = tmp_path / "alone"
    alone.mkdir()
    (package / "records.jsonl").rename(alone / "records.jsonl")
    assert exporter.run("report", alone, "-o", tmp_path / "alone.html").exit_code == 0
    page = (tmp_path / "alone.html").read_text("utf-8")
    assert body(page) == body((tmp_path / "page.html").read_text("utf-8"))
    assert "not known: there is no manifest" in page


def test_the_page_is_not_put_into_a_package(exporter, package):
    """A file that the manifest does not list would make it fail verification."""
    before = content(package)
    refused = exporter.run("report", package, "-o", package / "report.html")
    assert refused.exit_code == 2
    assert "Name another folder" in refused.stderr
    assert content(package) == before


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (b"", "has no record of the run"),
        (b"{", "line 1: it is not a record"),
        (b'{"record_type":"row"}\nnull\n', "line 2: it is not a record"),
        (b'{"record_type":"run","started_at":"yesterday"}\n', "started_at that it cannot have"),
        (b'{"record_type":"node_state","duration_ms":{}}\n', "duration_ms that it cannot have"),
        (b'{"record_type":"node_state","attempt":"x"}\n', "attempt that it cannot have"),
        (b"[" * 100_000, "line 1: it is not a record"),
    ],
)
def test_what_is_not_records_is_refused_with_a_sentence(exporter, tmp_path, lines, told):
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "records.jsonl").write_bytes(lines)
    refused = exporter.run("report", tmp_path / "alone", "-o", tmp_path / "page.html")
    assert (refused.exit_code, told in refused.stderr) == (2, True), refused.stderr
    assert not (tmp_path / "page.html").exists()


def test_any_number_is_a_duration(exporter, tmp_path):
    """The largest and the smallest double included."""
    some = [{"record_type": "run", "run_id": "r", "status": "completed"}]
    some += [
        {"record_type": "node_state", "node_id": f"n{i}", "status": "completed", "duration_ms": number}
        for i, number in enumerate((1.7976931348623157e308, 5e-324, -1.0, 0, 1e17))
    ]
    folder = write_records(tmp_path / "numbers", iter(some))
    assert exporter.run("report", folder, "-o", tmp_path / "page.html").exit_code == 0
    assert "&gt; 300,000 years" in (tmp_path / "page.html").read_text("utf-8")


def test_hostile_text_is_escaped_everywhere(exporter, tmp_path):
    """The tags of the page are those of the templates, whatever the records hold; characters that steer are shown."""
    folder = write_records(tmp_path / "hostile", records())
    assert exporter.run("report", folder, "-o", tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text("utf-8")
    tags = set(re.findall(r"<\s*([a-zA-Z!]+)", page))
    assert not tags & {"script", "img", "base", "form", "iframe", "object", "input"}
    assert page.count("<style>") == page.count("</style>") == 1
    assert not re.search("[\\u202a-\\u202e\\u2028\\u2029\\u200b\\ufeff\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f]", page)
    assert "⟦U+202E⟧" in page
    assert "(100,000 characters)" in page
    links = re.findall(r'\s(?:href|src|action|style|on\w+)\s*=\s*"([^"]*)"', re.sub(r">[^<]*<", "><", page))
    assert links
    assert all(link.startswith("#") for link in links)


@pytest.mark.parametrize(
    ("nodes", "rows", "failing"), [(0, 0, 1), (1, 1, 1), (10_000, 300, 1), (50, 3_000, 1), (60, 400, 2)]
)
def test_the_page_is_bounded(exporter, tmp_path, nodes, rows, failing):
    """No rows at all, ten thousand nodes, tens of thousands of kinds of error: a page of bounded size."""
    some = (record for record in records(nodes, rows, failing=failing) if nodes or record["record_type"] != "token")
    short = (json.loads(json.dumps(record).replace("x" * 100_000, "x" * 1_000)) for record in some)
    folder = write_records(tmp_path / "large", short)
    assert exporter.run("report", folder, "-o", tmp_path / "page.html").exit_code == 0
    assert 10_000 < (tmp_path / "page.html").stat().st_size < MAX_BYTES / 2


def test_a_folder_of_packages_is_listed(exporter, sample, tmp_path):
    """Every package with what its manifest tells, a damaged one too, and the runs that have none."""
    assert exporter.export(sample, "--all").exit_code == 0
    (exporter.output / "broken").mkdir()
    (exporter.output / "broken" / "manifest.json").write_text("{}")
    url = f"sqlite:///{sample}"
    made = exporter.run("report", exporter.output, "-o", tmp_path / "index.html", "--database", url, "--verify")
    assert made.exit_code == 0, made.stderr
    page = (tmp_path / "index.html").read_text("utf-8")
    packages, without = page.split("Runs without a package")
    for run_id, verdict in ((COMPLETED_RUN, "✓ verified"), (FAILED_RUN, "✓ verified"), ("broken", "▲ invalid")):
        (row,) = re.findall(rf"<tr><th[^>]*>(?:(?!</tr>).)*>{run_id}<.*?</tr>", packages, re.DOTALL)
        assert verdict in row
        page = "" if run_id == "broken" else "report.html"
        assert f'href="./exports/{run_id}/{page}"' in row
    assert RUNNING_RUN in without
    assert "not finished" in without
    assert COMPLETED_RUN not in without


@pytest.mark.parametrize(
    "change",
    [
        dict.fromkeys(("status", "started_at", "completed_at", "record_counts", "contract", "signing", "exporter"), 7),
        {name: {"key_id": 7, "version": []} for name in ("public_key", "signing", "exporter")},
        {"record_counts": {"row": "many"}, "status": None, "final_hash": {}},
        {"files": [{"path": "records.jsonl", "size": "x", "records": True}, {"path": "report.html"}]},
        {"run_id": "<b>\u202e", "exported_at": '"><script>'},
    ],
)
def test_a_manifest_that_is_wrong_is_shown_as_far_as_it_goes(exporter, package, tmp_path, change):
    """What it says is not trusted to be of any form; it ends in no traceback."""
    manifest = json.loads((package / "manifest.json").read_bytes())
    (package / "manifest.json").write_text(json.dumps(manifest | change))
    for source, output in ((package, "page.html"), (exporter.output, "index.html")):
        made = exporter.run("report", source, "-o", tmp_path / output)
        assert made.exit_code == 0, made.stderr
        page = (tmp_path / output).read_text("utf-8")
        assert "<script>" not in page.replace('<script>"use strict"', "")
        assert "\u202e" not in page
    (package / "manifest.json").write_text(json.dumps({**manifest, "files": None}))
    assert exporter.run("report", package, "-o", tmp_path / "page.html").exit_code == 2


def test_options_of_a_folder_are_refused_for_a_package(exporter, package):
    assert exporter.run("report", package, "--verify").exit_code == 2


def test_the_report_alone_is_not_exported(exporter, sample):
    """There would be nothing to verify."""
    refused = exporter.export(sample, f"--run-id={COMPLETED_RUN}", "--format", "html")
    assert (refused.exit_code, "names html alone" in refused.stderr) == (2, True), refused.stderr
    assert not exporter.output.exists()
