"""The one table of settings, in README.md, against the code that reads them.

Belongs here: names, options and defaults of that table, and that no other page has a second one. Does not belong here:
what a setting does (the tests of what reads it)."""

import re
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import pytest
from support.deployment import DAGSTER_YAML
from support.exporter import Exporter

from landscape_assets import settings
from landscape_assets.cli import main
from landscape_assets.errors import ExportError
from landscape_assets.settings import Settings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "deploy").iterdir()),
    DAGSTER_YAML,
]
SETTINGS = {
    value
    for name, value in vars(settings).items()
    if name.isupper() and isinstance(value, str) and value.startswith("LANDSCAPE_")
}
DEPLOYMENTS_OWN = {"LANDSCAPE_EXPORTS", "LANDSCAPE_CODE_HOST", "LANDSCAPE_CODE_PORT"}
"""Variables of deploy/ that the package itself does not read."""

DEFAULTS: dict[str, Callable[[Settings], object]] = {
    settings.SIGN: lambda found: "yes" if found.signs else "no",
    settings.FORMAT_NAMES: lambda found: ",".join(found.formats),
    settings.RAW_ERROR_ROWS: lambda found: "yes" if found.options.raw_error_rows else "no",
    settings.CHUNK_RECORDS: attrgetter("options.per_chunk_record_limit"),
    settings.CHUNK_BYTES: attrgetter("options.per_chunk_byte_limit"),
    settings.EXPORT_FORMAT: attrgetter("options.export_format"),
    settings.EXPORTER_VERSION: attrgetter("options.exporter_version"),
    settings.CHUNKING_VERSION: attrgetter("options.chunking_algorithm_version"),
    settings.MEMORY_MB: lambda found: found.budget.memory_mb,
    **{name: lambda found, name=name: found.cron(name) for name in settings.DEFAULT_CRONS},
    settings.SCHEDULE_TIMEZONE: attrgetter("schedule_timezone"),
    settings.EXPORTS_PER_TICK: attrgetter("exports_per_tick"),
    settings.CHECKS_PER_TICK: attrgetter("checks_per_tick"),
    settings.KEEP_DAYS: attrgetter("keep_days"),
}
"""How the code reads the settings that have a value when nobody sets them."""

WITHOUT: dict[str, Callable[[Settings], object]] = {
    settings.DATABASE_URL: attrgetter("database_url"),
    settings.EXPORT_DIR: attrgetter("export_dir"),
    settings.SIGNING_KEY: attrgetter("key"),
    settings.SIGNING_KEY_FILE: attrgetter("key"),
    settings.SIGNING_KEY_ID: attrgetter("key"),
    settings.PRIVATE_KEY_FILE: attrgetter("manifest_key"),
    settings.LOG_ORIGIN: attrgetter("log"),
    settings.TIMESTAMP_URL: attrgetter("timestamp_url"),
    settings.SIGNER_KEY_ID: attrgetter("options.signer_key_id"),
    settings.STORAGE_DIR: attrgetter("storage_dir"),
    settings.SCRATCH_DIR: attrgetter("scratch_dir"),
    settings.ALERT_URL: attrgetter("alert_url"),
    settings.ALERT_MAIL: attrgetter("alert_mail"),
    settings.UI_URL: attrgetter("ui_url"),
}
"""How it reads the others: nothing comes of it, or an error that says what is missing."""


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def rows() -> dict[str, tuple[str, str]]:
    """Variable → its option and its default, as README.md's table has them."""
    lines = [line for line in README.read_text("utf-8").splitlines() if re.match(r"\| `[A-Z_]+` \|", line)]
    found = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert len({name for _, name, *_ in found}) == len(found)
    return {name.strip("`"): (option, default) for _, name, option, default, *_ in found}


def test_the_table_names_every_setting():
    """What the code reads is in the table, and nothing else but Dagster's own variable."""
    assert set(rows()) == SETTINGS | {"DAGSTER_HOME"}
    assert DEFAULTS.keys() | WITHOUT.keys() == SETTINGS


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_defaults_are_those_of_the_code(name: str):
    """A default of the table is what the code gives in an empty environment."""
    assert rows()[name][1] == f"`{DEFAULTS[name](Settings.from_environment())}`"


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_what_has_no_default_has_none_in_the_code(name: str):
    """Where the table names no value, the code has none either."""
    assert not re.search(r"`[^`/]+`", rows()[name][1])
    try:
        assert not WITHOUT[name](Settings.from_environment())
    except ExportError as error:
        assert name.removesuffix("_ID") in str(error)


@pytest.mark.parametrize("name", sorted(SETTINGS | {settings.DAGSTER_HOME}))
def test_a_setting_that_is_set_and_empty_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch):
    """Every variable of the table: an empty one was meant to be something."""
    read = {**DEFAULTS, **WITHOUT, settings.DAGSTER_HOME: attrgetter("dagster_home")}[name]
    if name == settings.SIGNING_KEY_ID:
        monkeypatch.setenv(settings.SIGNING_KEY, "a key")
    monkeypatch.setenv(name, "")
    with pytest.raises(ExportError, match=name):
        read(Settings.from_environment())


OF_THE_COMMAND = {
    name
    for name in SETTINGS | {settings.DAGSTER_HOME}
    if not re.search("CRON|TIMEZONE|PER_TICK|KEEP_DAYS|ALERT|UI_URL", name)
}


@pytest.mark.parametrize("name", sorted(OF_THE_COMMAND))
def test_the_command_refuses_an_empty_setting(name: str, sample: Path, exporter: Exporter):
    """Before anything is made, in one sentence that names it."""
    given = {settings.DATABASE_URL: f"sqlite:///{sample}", settings.EXPORT_DIR: str(exporter.output)} | {name: ""}
    if name == settings.SIGNING_KEY_FILE:
        given[settings.SIGNING_KEY] = None
    result = exporter.run("export", "--all", "--json", **given)
    assert (result.exit_code, result.stdout) == (2, "")
    assert name in result.stderr and len(result.stderr.splitlines()) == 1
    assert list(exporter.folder.iterdir()) == [sample]


def test_the_sample_stands_in():
    """In the folder of a sample, what the table says comes from it does."""
    from_sample = {name for name, (_, default) in rows().items() if "the sample" in default}
    assert from_sample == {settings.DATABASE_URL, settings.EXPORT_DIR, settings.SIGNING_KEY_FILE}
    assert f"`{settings.SAMPLE_DIR}/`" in rows()[settings.DATABASE_URL][1]
    settings.SAMPLE_DIR.mkdir()
    (settings.SAMPLE_DIR / settings.SAMPLE_FILES[settings.DATABASE_URL]).touch()
    (settings.SAMPLE_DIR / settings.SAMPLE_FILES[settings.SIGNING_KEY_FILE]).write_text("sample")
    found = Settings.from_environment()
    assert found.database_url.endswith(f"{settings.SAMPLE_DIR}/landscape.db")
    assert found.export_dir.parent == settings.SAMPLE_DIR.resolve()
    assert found.key is not None


def test_options_are_those_of_the_command():
    """Each option of the table is one of `landscape-assets export`."""
    known = {option for each in main.commands["export"].params for option in (*each.opts, *each.secondary_opts)}
    options = {option for text, _ in rows().values() for option in re.findall(r"`(--[a-z-]+)`", text)}
    assert options and options <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_settings_that_there_are(page: Path):
    """No page names a setting that the code does not read, and README.md alone has a table of them."""
    text = page.read_text("utf-8")
    assert set(re.findall(r"LANDSCAPE_[A-Z_]*[A-Z]", text)) <= SETTINGS | DEPLOYMENTS_OWN
    assert page == README or not re.search(r"^\| `LANDSCAPE_", text, re.MULTILINE)
