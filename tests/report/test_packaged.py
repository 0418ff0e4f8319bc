"""The report as a file of the package.

Belongs here: that it is listed, verified, and made again from the records byte for byte.
"""

from support.exporter import KEY, Exporter, content
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.reporting import report_of
from landscape_assets.verify import Status, verify_package


def test_the_report_is_a_file_of_the_package(exporter: Exporter, database, tmp_path):
    """Verified with it; made again it is the same bytes; changed by one byte the package is not verified. On
    both databases, whose times differ in their form."""
    outcome = exporter.outcome(database.url, COMPLETED_RUN)
    assert outcome["status"] == "exported"
    package = exporter.output / COMPLETED_RUN
    assert verify_package(package, key=KEY.encode()).status == Status.VERIFIED
    page = package / "report.html"
    assert report_of(package) == page.read_bytes()
    assert exporter.run("report", exporter.output, "-o", tmp_path / "index.html").exit_code == 0
    assert f'href="./exports/{COMPLETED_RUN}/report.html"' in (tmp_path / "index.html").read_text("utf-8")
    page.write_bytes(page.read_bytes().replace(b"The run completed", b"The run completes"))
    assert verify_package(package, key=KEY.encode()).status == Status.INVALID
    assert exporter.outcome(database.url, COMPLETED_RUN)["status"] == "failed"


def test_an_export_again_finds_the_same_package(exporter: Exporter, sample):
    """The page differs in the export's time alone, which the comparison leaves out."""
    assert exporter.outcome(sample, COMPLETED_RUN)["status"] == "exported"
    assert exporter.outcome(sample, COMPLETED_RUN)["status"] == "unchanged"
    assert exporter.outcome(sample, COMPLETED_RUN, "--format", "html", "--format", "csv")["status"] == "failed"


def test_a_package_that_has_none_lacks_nothing(exporter: Exporter, sample):
    """Made before there were reports, say: an export finds it unchanged, and one that supersedes adds the report."""
    older = [f"--format={name}" for name in ("jsonl", "csv", "parquet")]
    assert exporter.outcome(sample, COMPLETED_RUN, *older)["status"] == "exported"
    package = exporter.output / COMPLETED_RUN
    assert not (package / "report.html").exists()
    before = content(exporter.output)
    assert exporter.outcome(sample, COMPLETED_RUN)["status"] == "unchanged"
    assert content(exporter.output) == before
    assert exporter.outcome(sample, COMPLETED_RUN, "--supersede")["status"] == "exported"
    assert (package / "report.html").is_file()
    assert exporter.outcome(sample, COMPLETED_RUN, *older)["status"] == "failed"
