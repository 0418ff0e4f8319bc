"""Time stamps of an authority (RFC 3161): a real one, `openssl ts` behind a small HTTP server.

Belongs here: asking, keeping, verifying, and an authority that does not answer. Does not belong here: the log.
"""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.exporter import Exporter
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.evidence import timestamp
from landscape_assets.verify import Status, UsageError, main, verify_log, verify_package

from .conftest import Signer

CONFIG = """
[tsa]
default_tsa = one
[one]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_chain = no
[signer]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
"""


class Authority:
    """`openssl ts -reply` behind HTTP.

    Args:
        folder: for its keys.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.certificate, self.asked, self.status = folder, folder / "ca.pem", 0, 200
        folder.mkdir()
        (folder / "tsa.cnf").write_text(CONFIG)
        (folder / "serial").write_text("01\n")
        new = ["req", "-newkey", "rsa:2048", "-nodes", "-sha256"]
        self._openssl(*new, "-x509", "-days", "30", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
        self._openssl(*new, "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr")
        by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-sha256"]
        self._openssl(
            "x509", "-req", "-in", "tsa.csr", *by, "-extfile", "tsa.cnf", "-extensions", "signer", "-out", "tsa.pem"
        )
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                authority.asked += 1
                query = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(authority.status)
                self.end_headers()
                if authority.status == 200:
                    self.wfile.write(authority.reply(query))

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/tsr"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, check=True)

    def reply(self, query: bytes) -> bytes:
        """What the authority answers."""
        (self.folder / "query").write_bytes(query)
        signer = ["-signer", "tsa.pem", "-inkey", "tsa.key", "-config", "tsa.cnf"]
        self._openssl("ts", "-reply", "-queryfile", "query", *signer, "-out", "answer")
        return (self.folder / "answer").read_bytes()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    authority = Authority(tmp_path_factory.mktemp("authority") / "tsa")
    yield authority
    authority.close()


@pytest.fixture
def authority(running: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The authority; that it failed before is forgotten."""
    running.asked, running.status = 0, 200
    monkeypatch.setattr(timestamp, "_silent_until", {})
    return running


def verified(folder: Path, signer: Signer, authority: bytes | None):
    checkpoint = (folder / ".log" / "checkpoint").read_bytes()
    return verify_log(folder, public_key=signer.public_key, checkpoint=checkpoint, authority=authority, packages=False)


def test_each_checkpoint_is_stamped(exporter: Exporter, sample: Path, signer: Signer, authority: Authority):
    """Once; the verifier and `openssl ts` check it with the authority's certificate."""
    settings = signer.settings | {"LANDSCAPE_TIMESTAMP_URL": authority.url}
    for formats in ("jsonl", "csv", "csv"):
        more = [f"--run-id={COMPLETED_RUN}", "--supersede", f"--format={formats}"]
        result = exporter.export(sample, *more, **settings)
        assert (result.exit_code, result.stderr) == (0, "")
    log = exporter.output / ".log"
    assert sorted(path.name for path in (log / "timestamps").iterdir()) == ["1.tsr", "2.tsr"]
    assert authority.asked == 2
    ca = authority.certificate.read_bytes()
    report = verified(exporter.output, signer, ca)
    assert report.status is Status.VERIFIED, report.to_text()
    (check,) = [one for one in report.checks if one.name == "time stamps of checkpoints"]
    assert check.outcome == "passed"
    assert check.detail.startswith("2 entries were there at 20")

    text = exporter.folder / "text"
    text.write_text("".join((log / "checkpoint").read_text().splitlines(keepends=True)[:3]))
    command = ["openssl", "ts", "-verify", "-data", text, "-in", log / "timestamps" / "2.tsr", "-CAfile"]
    assert subprocess.run([*command, authority.certificate], capture_output=True, check=False).returncode == 0

    unchecked = verified(exporter.output, signer, None)
    assert unchecked.status is Status.VERIFIED
    assert any("2 time stamps were NOT CHECKED" in notice for notice in unchecked.notices)


def test_wrong_time_stamps(folder: Path, exporter: Exporter, signer: Signer, authority: Authority, tmp_path: Path):
    """One of another checkpoint, of another authority, cut, or changed in any byte, is found."""
    settings = signer.settings | {"LANDSCAPE_TIMESTAMP_URL": authority.url}
    result = exporter.run("log", "sync", "--output", folder, **settings)
    assert (result.exit_code, result.stderr) == (0, "")
    (stamp,) = (folder / ".log" / "timestamps").iterdir()
    ca, data = authority.certificate.read_bytes(), stamp.read_bytes()
    assert verified(folder, signer, ca).status is Status.VERIFIED
    other = Authority(tmp_path / "other")
    other.close()
    assert {one.code for one in verified(folder, signer, other.certificate.read_bytes()).findings} == {"E620"}
    wrong = [data[:-1], b"", timestamp.request_token(authority.url, b"another text")]
    wrong += [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(0, len(data), 97)]
    for case in wrong:
        stamp.write_bytes(case)
        report = verified(folder, signer, ca)
        assert (report.status, {one.code for one in report.findings}) == (Status.INVALID, {"E620"}), case
    stamp.write_bytes(data)
    shutil.copy(stamp, stamp.with_name("1.tsr"))
    assert {one.code for one in verified(folder, signer, ca).findings} == {"E620"}
    print(f"{len(wrong) + 2} wrong time stamps, each refused")


@pytest.mark.parametrize("how", ["refuses", "is not there", "answers something else", "is not an address"])
def test_an_authority_that_does_not_answer(
    how: str, exporter: Exporter, sample: Path, signer: Signer, authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    """The export is as without it, but for a warning; `log sync` asks again."""
    url = {"is not there": "http://127.0.0.1:9/", "is not an address": "file:///etc/passwd"}.get(how, authority.url)
    with monkeypatch.context() as patch:
        if how == "refuses":
            authority.status = 503
        elif how == "answers something else":
            patch.setattr(authority, "reply", lambda query: b"hello")
        settings = signer.settings | {"LANDSCAPE_TIMESTAMP_URL": url}
        result = exporter.export(sample, f"--run-id={COMPLETED_RUN}", **settings)
    assert result.exit_code == 0
    assert "The checkpoint of the log has no time stamp" in result.stderr
    log = exporter.output / ".log"
    assert not (log / "timestamps").exists()
    assert verified(exporter.output, signer, None).status is Status.VERIFIED
    authority.status = 200
    monkeypatch.setattr(timestamp, "_silent_until", {})
    settings["LANDSCAPE_TIMESTAMP_URL"] = authority.url
    result = exporter.run("log", "sync", "--output", exporter.output, **settings)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (log / "timestamps" / "1.tsr").exists()


@pytest.fixture
def stamped(exports: Path, exporter: Exporter, authority: Authority) -> tuple[Path, Path]:
    """A package, and the authority's token over its manifest."""
    file, package = exporter.folder / "manifest.tsr", exports / COMPLETED_RUN
    assert exporter.run("log", "timestamp", package, "-o", file).exit_code == 2
    result = exporter.run("log", "timestamp", package, "-o", file, LANDSCAPE_TIMESTAMP_URL=authority.url)
    assert result.exit_code == 0, result.output
    return package, file


def test_a_manifest_on_demand(stamped: tuple[Path, Path], signer: Signer, authority: Authority):
    """As `openssl ts` checks it, and the verifier with all else of the package."""
    package, file = stamped
    command = ["openssl", "ts", "-verify", "-data", package / "manifest.json", "-in", file]
    command += ["-CAfile", authority.certificate]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    ca = authority.certificate.read_bytes()
    report = verify_package(package, public_key=signer.public_key, timestamp=file.read_bytes(), authority=ca)
    assert report.status is Status.VERIFIED, report.to_text()
    (check,) = [one for one in report.checks if one.name == "time stamp of manifest.json"]
    assert check.outcome == "passed" and check.detail.startswith("manifest.json was there at 20")


def test_wrong_time_stamps_of_a_manifest(
    stamped: tuple[Path, Path], exports: Path, signer: Signer, authority: Authority, tmp_path: Path
):
    """That of another package, of another authority, cut, or changed in any byte, is found."""
    package, file = stamped
    ca, data = authority.certificate.read_bytes(), file.read_bytes()
    other = Authority(tmp_path / "other")
    other.close()
    wrong = [(data, other.certificate.read_bytes()), (data[:-1], ca), (b"", ca)]
    wrong += [(timestamp.request_token(authority.url, b"another manifest"), ca)]
    wrong += [(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], ca) for at in range(0, len(data), 97)]
    with pytest.raises(UsageError):
        verify_package(package, public_key=signer.public_key, timestamp=data)
    for token, certificate in wrong:
        report = verify_package(package, public_key=signer.public_key, timestamp=token, authority=certificate)
        assert (report.status, {one.code for one in report.findings}) == (Status.INVALID, {"E137"})


def test_the_time_stamp_option(
    stamped: tuple[Path, Path], signer: Signer, authority: Authority, tmp_path: Path, capsys
):
    """It is of one package, and needs the authority's certificate."""
    package, file = map(str, stamped)
    (tmp_path / "key.pem").write_bytes(signer.public_key)
    key = ["--public-key", str(tmp_path / "key.pem")]
    ca = ["--timestamp-ca", str(authority.certificate)]
    assert main([package, *key, "--timestamp", file, *ca]) == 0
    assert "manifest.json was there at 20" in capsys.readouterr().out
    for arguments in ([package, *key, "--timestamp", file], [package, package, *key, "--timestamp", file, *ca]):
        assert main(arguments) == 2
        assert "--timestamp is of one package" in capsys.readouterr().err
    assert main([file, *key, "--timestamp", file, *ca]) == 2
    assert "is a file" in capsys.readouterr().err
    assert main([package, *key, "--timestamp", str(tmp_path / "none"), *ca]) == 2
    assert "The time stamp" in capsys.readouterr().err
