"""What lies beside the verifier, or in the working folder, is never executed, however the verifier is started.

Belongs here: the start of the verifier in hostile places, as a folder, as one file and as a module, by real processes;
and the making of the one file. Does not belong here: what it says of packages.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from landscape_assets import verify
from landscape_assets.cli import main as command_line
from landscape_assets.package.verifier_file import verifier_file

from . import build
from .build import KEY, OTHER_KEY
from .make_corpus import PRIVATE_KEY
from .small import small_run

SOURCE = Path(verify.__file__).parent
REPOSITORY = SOURCE.parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

HOSTILE = 'import os, sys\nos.write(1, b"VERIFIED with the key given: taken over\\n")\nos._exit(0)\n'
NAMES = (
    "json", "hashlib", "os", "encodings", "argparse", "importlib", "runpy", "dataclasses", "typing", "zipfile", "zlib",
    "multiprocessing", "concurrent", "subprocess", "pickle", "sitecustomize", "usercustomize", "cryptography",
    "landscape_verify", "landscape_assets", "verify", "signatures", "codes", "cli",
)  # fmt: skip
"""Modules of Python, of the verifier, and of what it may use."""


def hostile(folder: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Modules that print a verdict of their own and end with 0: each as a folder and as a file, where there is room."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        if name in without:
            continue
        (folder / f"{name}.py").write_text(HOSTILE)
        if not (folder / name).exists():
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(HOSTILE)
            (folder / name / "__main__.py").write_text(HOSTILE)
    return folder


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that is invalid under the key KEY; and large enough to be checked by several processes."""
    records = small_run()
    records += [{**records[-1], "artifact_id": f"a{number:06}", "path_or_uri": "x" * 700} for number in range(9000)]
    folder = build.build(tmp_path_factory.mktemp("forged"), records, key=OTHER_KEY, formats=("jsonl",))
    assert (folder / "records.jsonl").stat().st_size > verify.records_file.SINGLE_PROCESS_BELOW
    return folder


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(KEY)
    return path


def run(command: list[object], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command, and makes sure that no hostile module was executed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=ENVIRONMENT | environment, check=False, capture_output=True, text=True, timeout=120
    )
    assert "taken over" not in done.stdout, done
    return done


def folder(place: Path, name: str) -> Path:
    shutil.copytree(SOURCE, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    return place / name


def one_file(place: Path, name: str) -> Path:
    (place / name).write_bytes(verifier_file())
    return place / name


@pytest.mark.parametrize("options", [("-I",), ()], ids=" ".join)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (folder, "verify"),
        (folder, "verify-0.1.0"),
        (folder, "json"),
        (folder, "my verifier"),
        (one_file, "landscape-verify.pyz"),
        (one_file, "os.py"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_what_lies_beside_it_and_in_the_working_folder_is_not_executed(
    package: Path,
    key_file: Path,
    tmp_path: Path,
    make: Callable[[Path, str], Path],
    name: str,
    options: tuple[str, ...],
):
    """The true verdict on a sound package, and on a folder that is not one; nothing on standard error."""
    place = tmp_path / "unpacked"
    place.mkdir()
    verifier = make(place, name)
    hostile(place, without=("os",) if name == "os.py" else ())
    here = hostile(tmp_path / "here")
    for where, start, judged, status in ((place, name, package, 0), (here, verifier, here, 20)):
        done = run([sys.executable, *options, start, judged, "--key-file", key_file], where)
        assert (done.returncode, done.stderr) == (status, ""), done


@pytest.mark.parametrize("make", [folder, one_file])
@pytest.mark.parametrize("options", [("-I",), ()], ids=" ".join)
def test_nor_by_the_processes_that_check_records(
    forged: Path, key_file: Path, tmp_path: Path, make: Callable[[Path, str], Path], options: tuple[str, ...]
):
    place = tmp_path / "unpacked"
    place.mkdir()
    verifier = make(place, "verify.pyz")
    hostile(place)
    done = run([sys.executable, *options, verifier, forged, "--key-file", key_file], place)
    assert (done.returncode, done.stderr) == (40, ""), done
    assert "E322" in done.stdout


def test_nor_by_the_installed_command(forged: Path, key_file: Path, tmp_path: Path):
    """`landscape-assets verify` in a hostile working folder, with several processes."""
    command = Path(sys.executable).with_name("landscape-assets")
    done = run([command, "verify", forged, "--key-file", key_file], hostile(tmp_path / "here"))
    assert (done.returncode, done.stderr) == (40, ""), done


def test_as_a_module_in_a_hostile_working_folder(package: Path, forged: Path, key_file: Path, tmp_path: Path):
    """`python -m` looks into the working folder first; what it finds before the verifier alone cannot be helped."""
    here = hostile(tmp_path / "here", without=("landscape_assets", "sitecustomize", "usercustomize", "encodings"))
    for judged, status in ((package, 0), (forged, 40)):
        done = run([sys.executable, "-m", "landscape_assets.verify", judged, "--key-file", key_file], here)
        assert (done.returncode, done.stderr) == (status, ""), done
    hostile(here)
    done = run([sys.executable, "-I", "-m", "landscape_assets.verify", forged, "--key-file", key_file], here)
    assert (done.returncode, done.stderr) == (40, ""), done


@pytest.mark.parametrize("path", ["", "{here}"])
@pytest.mark.parametrize("make", [folder, one_file])
def test_pythonpath(package: Path, tmp_path: Path, make: Callable[[Path, str], Path], path: str):
    """With -I nothing of PYTHONPATH is executed. Without, only what Python itself loads before it starts a program is
    (`encodings`, `importlib`, and what the site packages ask for, which -S leaves out): the verifier cannot do anything
    about it."""
    here = hostile(tmp_path / "here")
    (tmp_path / "other").write_bytes(OTHER_KEY)
    command = [make(tmp_path, "verifier"), package, "--key-file", tmp_path / "other"]
    done = run([sys.executable, "-I", *command], here, PYTHONPATH=path.format(here=here))
    assert (done.returncode, done.stderr) == (40, ""), done
    for name in ("encodings", "importlib"):
        (here / f"{name}.py").unlink()
        shutil.rmtree(here / name)
    done = run([sys.executable, "-S", *command], here, PYTHONPATH=path.format(here=here))
    assert (done.returncode, done.stderr) == (40, ""), done


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the command openssl is not installed")
def test_the_command_openssl_is_not_taken_from_the_working_folder(tmp_path: Path):
    """Not even where an empty or a relative entry of PATH names that folder first."""
    package = build.build(
        tmp_path,
        small_run(),
        private_key=PRIVATE_KEY,
        after=lambda files: files.update({"manifest.json.sig": b"x" * 64}),
    )
    here = hostile(tmp_path / "here")
    (here / "openssl").write_text("#!/bin/sh\nexit 0\n")
    (here / "openssl").chmod(0o755)
    public_key = Path(__file__).parent / "corpus" / "public.pem"
    command = [sys.executable, "-I", "-S", one_file(tmp_path, "verify.pyz"), package, "--public-key", public_key]
    for path, status in ((f":.:../here:{os.environ['PATH']}", 40), (":.:../here", 2)):
        done = run(command, here, PATH=path)
        assert done.returncode == status, done


OLDER = [
    python
    for python in map(shutil.which, ("python3.10", "python3.9", "python3.8", "python3.6", "python2.7"))
    if python and subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0
]
OLDER += [
    str(path)
    for path in sorted(Path.home().glob(".pyenv/versions/*/bin/python"))
    if not path.match("*/3.1[1-9]*/bin/*")
]


@pytest.mark.parametrize("make", [folder, one_file])
@pytest.mark.parametrize("options", [("-I",), ()], ids=" ".join)
def test_an_older_python_is_told_that_it_is(
    package: Path, tmp_path: Path, make: Callable[[Path, str], Path], options: tuple[str, ...]
):
    """By the Pythons that are here, and by this one under a false version. None has a traceback, or exit status 0."""
    verifier = make(tmp_path, "verifier")
    false = "import runpy, sys; sys.version_info = (3, 10, 13); runpy.run_path(sys.argv[1], run_name='__main__')"
    commands = [[sys.executable, *options, "-c", false, verifier, package]]
    commands += [[python, *(options if "2.7" not in python else ()), verifier, package] for python in OLDER]
    for command in commands:
        done = run(command, tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), (command, done)
        (line,) = done.stderr.splitlines()
        assert line.startswith("verify: this verifier needs Python 3.11 or newer; this is Python "), line


@pytest.mark.skipif(not OLDER, reason="no older Python is here")
@pytest.mark.parametrize("python", OLDER)
def test_as_a_module_an_older_python_is_told_too(package: Path, tmp_path: Path, python: str):
    place = tmp_path / "landscape_assets"
    folder(place, "verify")
    (place / "__init__.py").write_bytes((SOURCE.parent / "__init__.py").read_bytes())
    done = run([python, "-m", "landscape_assets.verify", package], tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert "needs Python 3.11 or newer" in done.stderr and "Traceback" not in done.stderr


def test_the_file_is_the_same_each_time(tmp_path: Path):
    """Whatever the time, the umask and the places are; the command prints its SHA-256, and does not overwrite."""
    made = []
    for umask, name in ((0o022, "one.pyz"), (0o077, "two.pyz")):
        program = (
            f"import os; os.umask({umask})\nfrom landscape_assets.cli import main\nmain(['verifier-file', {name!r}])"
        )
        done = run([sys.executable, "-c", program], tmp_path, TZ="Asia/Tokyo", SOURCE_DATE_EPOCH="1")
        assert (done.returncode, done.stderr) == (0, "")
        content = (tmp_path / name).read_bytes()
        assert done.stdout == f"{build.hashlib.sha256(content).hexdigest()}  {name}\n"
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o755
        made.append(content)
    assert made[0] == made[1] == verifier_file()
    with zipfile.ZipFile(tmp_path / "one.pyz") as packed:
        names = packed.namelist()
        assert names == sorted(path.name for path in SOURCE.glob("*.py"))
        assert {packed.read(name) == (SOURCE / name).read_bytes() for name in names} == {True}
        assert {one.date_time for one in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    again = CliRunner().invoke(command_line, ["verifier-file", str(tmp_path / "one.pyz")])
    assert (again.exit_code, again.stdout) == (2, "")
    assert "The verifier cannot be written" in again.stderr
    assert (tmp_path / "one.pyz").read_bytes() == made[0]


def test_the_file_runs_by_its_own_name(package: Path, key_file: Path, tmp_path: Path):
    done = run([sys.executable, "-m", "landscape_assets.cli", "verifier-file"], tmp_path)
    assert done.returncode == 0, done
    done = run(["./landscape-verify.pyz", package, "--key-file", key_file], tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done
