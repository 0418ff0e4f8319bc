"""The wheel and the sdist: what `python -m build` makes is whole, and works in an empty environment.

Belongs here: building, installing, and the demo. Does not belong here: what the demo
exports (`../cli/test_commands.py`).
"""

import email
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import landscape_assets

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def run(*command: str | Path, **options: object) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(folder: Path) -> Path:
    """The Python of a new virtual environment."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that can build; skipped where packages cannot be fetched."""
    python = environment(tmp_path_factory.mktemp("build"))
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", "build", "setuptools>=77"]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"there is no package index: {done.stderr.strip().splitlines()[-1]}")
    return python


@pytest.fixture(scope="module")
def built(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel that is built from that: what the sdist lacks, the wheel lacks."""
    folder = tmp_path_factory.mktemp("dist")
    # From a copy: building leaves files beside the sources, and takes up what an earlier build left there.
    source = tmp_path_factory.mktemp("source")
    kept = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, kept):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(python, "-m", "build", "--outdir", folder, source)
    return folder


def test_both_have_the_version_and_what_belongs_to_the_package(built: Path) -> None:
    """Every module, the sample, the mark that types are there, and the licence; no tests and no benchmarks."""
    version = landscape_assets.__version__
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    assert wheel.name == f"landscape_assets-{version}-py3-none-any.whl"
    assert sdist.name == f"landscape_assets-{version}.tar.gz"
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "landscape_assets"
    wanted = {str(path.relative_to(ROOT)) for path in package.rglob("*") if path.suffix in (".py", ".sql", ".typed")}
    assert wanted - names == set()
    assert {name.partition("/")[0] for name in names} == {
        "landscape_assets",
        f"landscape_assets-{version}.dist-info",
    }
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    with tarfile.open(sdist) as archive:
        assert f"landscape_assets-{version}/LICENSE" in archive.getnames()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which nothing was installed by other tests than those of the demo, which leave
    the dependencies behind: to fetch and unpack them takes a minute."""
    return environment(tmp_path_factory.mktemp("empty") / "venv")


def requirements(wheel: Path) -> list[str]:
    """What a wheel says that it needs."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return sorted(email.message_from_bytes(archive.read(name)).get_all("Requires-Dist", []))


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_the_demo_runs_from_an_empty_environment(built: Path, empty: Path, tmp_path: Path, kind: str) -> None:
    """Installed with the pinned versions, it exports the sample and verifies the package. The wheel brings with it what
    it needs; the sdist asks for the same."""
    (file,), (wheel,) = built.glob(kind), built.glob("*.whl")
    # Compiling all modules of all dependencies would take longer than the demo, which needs a part of them.
    run(empty, "-m", "pip", "install", "-q", "--no-compile", "-c", ROOT / "constraints.txt", file)
    try:
        run(empty, "-m", "pip", "check")
        ask = "import importlib.metadata as m; print(*sorted(m.requires('landscape-assets')), sep='\\n')"
        assert run(empty, "-I", "-c", ask).splitlines() == requirements(wheel) != []
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
        command = empty.with_name("landscape-assets")
        output = run(command, "demo", cwd=tmp_path, env=mine)
        assert "manifest.json" in output
        assert f". {command.with_name('activate')} && DAGSTER_HOME=" in output  # it was called by its path
        (manifest, *_) = sorted((tmp_path / "demo").rglob("manifest.json"))
        (key,) = (tmp_path / "demo").glob("*.key")
        run(command, "verify", manifest.parent, "--key-file", key, cwd=tmp_path, env=mine)
        assert landscape_assets.__version__ in run(command, "--version", cwd=tmp_path, env=mine)
        assert sys.version_info[:2] == tuple(
            map(int, run(empty, "-c", "import sys; print(*sys.version_info[:2])").split())
        )
    finally:
        run(empty, "-m", "pip", "uninstall", "-q", "-y", "landscape-assets")
