"""Every setting, read from the environment at the moment it is used.

Belongs here: names, defaults and meaning of the environment variables; the README's table lists them. In the folder of
a sample that `landscape-assets demo` made, what is not set is taken from the sample, so that `dagster dev` starts with
no environment. Does not belong here: what is done with them (`resources.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

from .budget import DEFAULT_MEMORY_MB, SMALLEST_MEMORY_MB, Budget
from .errors import ExportError, SigningKeyError
from .evidence.export_log import LogSettings
from .evidence.note import check_origin
from .formats import FORMATS
from .pipeline import ExportSettings
from .records.sign import ManifestKey, SigningKey
from .storage.work_dirs import staging_root

DATABASE_URL = "LANDSCAPE_DATABASE_URL"
EXPORT_DIR = "LANDSCAPE_EXPORT_DIR"
SIGNING_KEY = "LANDSCAPE_SIGNING_KEY"
SIGNING_KEY_FILE = "LANDSCAPE_SIGNING_KEY_FILE"
SIGNING_KEY_ID = "LANDSCAPE_SIGNING_KEY_ID"
PRIVATE_KEY_FILE = "LANDSCAPE_SIGNING_PRIVATE_KEY_FILE"
LOG_ORIGIN = "LANDSCAPE_LOG_ORIGIN"
SIGN = "LANDSCAPE_SIGN"
FORMAT_NAMES = "LANDSCAPE_FORMATS"
MEMORY_MB = "LANDSCAPE_MEMORY_MB"
STORAGE_DIR = "LANDSCAPE_STORAGE_DIR"
SCRATCH_DIR = "LANDSCAPE_SCRATCH_DIR"
SCHEDULE_CRON = "LANDSCAPE_SCHEDULE_CRON"
VERIFY_CRON = "LANDSCAPE_VERIFY_CRON"
CHECK_CRON = "LANDSCAPE_CHECK_CRON"
HOUSEKEEPING_CRON = "LANDSCAPE_HOUSEKEEPING_CRON"
SCHEDULE_TIMEZONE = "LANDSCAPE_SCHEDULE_TIMEZONE"
EXPORTS_PER_TICK = "LANDSCAPE_EXPORTS_PER_TICK"
CHECKS_PER_TICK = "LANDSCAPE_CHECKS_PER_TICK"
KEEP_DAYS = "LANDSCAPE_KEEP_DAYS"
DAGSTER_HOME = "DAGSTER_HOME"

_SHOWN = {EXPORT_DIR: f"The export folder (--output or {EXPORT_DIR})"}
"""What messages call a setting that is an option, too."""

DEFAULT_CRONS = {
    CHECK_CRON: "0 1 * * *",
    SCHEDULE_CRON: "0 2 * * *",
    VERIFY_CRON: "0 4 * * *",
    HOUSEKEEPING_CRON: "0 6 * * *",
}

SAMPLE_DIR = Path("demo")
"""Where `landscape-assets demo` puts the sample when it is not told otherwise, relative to the working folder."""

SAMPLE_DATABASE = "landscape.db"
SAMPLE_EXPORTS = "exports"
SAMPLE_KEY = "signing.key"


def _value(name: str) -> str | None:
    """What a variable is set to; None when it is unset.

    Raises:
        ExportError: it is set and empty, as by an unset variable of a shell or a template; or it is not UTF-8.
    """
    given = os.environ.get(name)
    if given == "":
        raise ExportError(f"{_SHOWN.get(name, name)} is set, and empty. Give it a value, or unset it.")
    if given is not None and not _is_text(given):
        raise ExportError(f"{name} is not UTF-8 text.")  # not repeated: it may hold a password
    return given


def _is_text(given: str) -> bool:
    """Whether a value of the environment was UTF-8: Python keeps other bytes as surrogates."""
    return not any("\ud800" <= c <= "\udfff" for c in given)


def _sample(name: str) -> Path | None:
    """A file of the sample, when there is one and the environment names no database."""
    if _value(DATABASE_URL) or not (SAMPLE_DIR / SAMPLE_DATABASE).is_file():
        return None
    return SAMPLE_DIR.resolve() / name


def database_url() -> str:
    """The SQLAlchemy URL of the audit database; empty when none is set."""
    sample = _sample(SAMPLE_DATABASE)
    return _value(DATABASE_URL) or (f"sqlite:///{sample}" if sample else "")


def export_dir() -> Path:
    """The export folder.

    Raises:
        ExportError: none is set, or the one that is set is no path.
    """
    if (given := _folder(EXPORT_DIR)) is not None:
        return given
    if (sample := _sample(SAMPLE_EXPORTS)) is not None:
        return sample
    raise ExportError(f"No export folder is named. Give it with --output or {EXPORT_DIR}.")


def signs() -> bool:
    """Whether exports are signed; they are unless LANDSCAPE_SIGN says no."""
    given = (_value(SIGN) or "yes").lower()
    if given not in ("yes", "no"):
        raise ExportError(f"{SIGN} is {given!r}; it must be yes or no.")
    return given == "yes"


def signing_key() -> SigningKey | None:
    """The key that records and manifest are signed with; None when exports are not signed.

    Raises:
        SigningKeyError: exports are signed, and there is no usable key.
    """
    if not signs():
        return None
    key_id = _value(SIGNING_KEY_ID)
    if SIGNING_KEY in os.environ:
        return _key_of_environment(os.environ[SIGNING_KEY], key_id)
    sample = _sample(SAMPLE_KEY)
    file = _value(SIGNING_KEY_FILE) or (str(sample) if sample else None)
    if file is None:
        raise SigningKeyError(
            f"There is no signing key. Give one with {SIGNING_KEY} or {SIGNING_KEY_FILE}, or choose an unsigned export "
            f"with --no-sign ({SIGN}=no)."
        )
    try:
        text = Path(file).read_bytes().decode()
    except OSError as error:
        raise SigningKeyError(f"The signing key file {file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SigningKeyError(f"The signing key file {file} is not UTF-8 text.") from None
    # One line end at the end of the file is not part of the key; the verifier takes a key file so, too.
    return SigningKey(text.removesuffix("\r\n" if text.endswith("\r\n") else "\n"), key_id)


def _key_of_environment(text: str, key_id: str | None) -> SigningKey:
    if not _is_text(text):
        raise SigningKeyError(f"{SIGNING_KEY} is not UTF-8 text.")
    key = SigningKey(text, key_id)
    if text.endswith(("\r", "\n")):
        raise SigningKeyError(
            f"{SIGNING_KEY} ends in a line end. In a key file that is no part of the key, so that packages signed with "
            f"it would not verify with the file that it may come from. Set the variable without the line end, or name the "
            f"file in {SIGNING_KEY_FILE}."
        )
    return key


def manifest_key() -> ManifestKey | None:
    """The Ed25519 key that signs manifest.json, if one is set.

    Raises:
        SigningKeyError: it cannot be used.
    """
    file = _value(PRIVATE_KEY_FILE)
    return ManifestKey.load(Path(file)) if file else None


def log_settings() -> LogSettings | None:
    """What the export log is kept with; None without a private key, which signs it.

    Raises:
        ExportError: the key or the origin cannot be used.
    """
    key, origin = manifest_key(), _value(LOG_ORIGIN)
    if origin is not None:
        check_origin(origin)
    return None if key is None else LogSettings(key, origin)


def formats() -> tuple[str, ...]:
    """The output formats, in the order of FORMATS; all of them unless LANDSCAPE_FORMATS names some."""
    given = [name.strip() for name in (_value(FORMAT_NAMES) or ",".join(FORMATS)).split(",")]
    if unknown := [name for name in given if name not in FORMATS]:
        raise ExportError(f"{FORMAT_NAMES} names {unknown[0]!r}; the formats are {', '.join(FORMATS)}.")
    return tuple(name for name in FORMATS if name in given)


def budget() -> Budget:
    """How much memory the export may take beyond the process itself and an index of ids."""
    return Budget(memory_mb=_whole_number(MEMORY_MB, DEFAULT_MEMORY_MB, SMALLEST_MEMORY_MB, " of MiB, "))


def export_settings(*, supersede: bool = False) -> ExportSettings:
    """What exports without assets between the stages are made with. All settings that name folders are looked at, used
    or not.

    Args:
        supersede: replace a package that differs.

    Raises:
        ExportError: a setting is wrong.
    """
    storage_dir()
    return ExportSettings(
        database_url(),
        export_dir(),
        signing_key(),
        manifest_key(),
        formats(),
        budget(),
        scratch_dir(),
        supersede,
        log_settings(),
    )


def storage_dir() -> Path | None:
    """Where tables and records are kept between the assets; None for the Dagster instance's own storage folder."""
    return _folder(STORAGE_DIR)


def scratch_dir() -> Path | None:
    """Where temporary files go; None for a folder beside the storage."""
    return _folder(SCRATCH_DIR)


def dagster_home() -> str | None:
    """The folder of the Dagster instance; None for an ephemeral instance."""
    return _value(DAGSTER_HOME)


def _folder(name: str) -> Path | None:
    given = _value(name)
    if given is None:
        return None
    try:
        return Path(given).absolute()
    except FileNotFoundError:
        raise ExportError(
            f"{_SHOWN.get(name, name)} is {given!r}, relative to the working folder, which is no longer there. Give an "
            f"absolute path."
        ) from None


def require_folders() -> None:
    """Makes sure, as far as can be seen without writing, that the folders that are set can be written to.

    Raises:
        ExportError: none is set for the exports, one is set and empty, or one cannot be written to.
    """
    exports = export_dir()
    dagster_home()  # in what state it is, Dagster says
    folders = (
        (EXPORT_DIR, exports),
        (EXPORT_DIR, staging_root(exports)),
        (SCRATCH_DIR, scratch_dir()),
    )
    for name, folder in folders:
        if folder is not None and (reason := _why_unusable(folder)) is not None:
            raise ExportError(f"{_SHOWN.get(name, name)} cannot be used: {reason}. Fix it, or name another folder.")


def _why_unusable(folder: Path) -> str | None:
    """Why a folder cannot be written to, or be made where it is to be."""
    try:
        for path in (folder, *folder.parents):
            if not os.path.lexists(path):
                continue
            if not path.is_dir():
                return f"{path} is no folder"
            # A folder must be readable to be synced.
            needed = os.W_OK | os.X_OK | (os.R_OK if path == folder else 0)
            return None if os.access(path, needed) else f"this user may not read or write {path}"
    except OSError as error:
        return f"{error.strerror} ({error.filename or folder})"
    return None


def cron(name: str) -> str:
    """When a schedule ticks, as a cron expression; read when definitions load, for Dagster wants it then."""
    return _value(name) or DEFAULT_CRONS[name]


def schedule_timezone() -> str:
    """The time zone of the schedules; read when definitions load."""
    return _value(SCHEDULE_TIMEZONE) or "UTC"


def exports_per_tick() -> int:
    """How many exports the nightly schedule asks for at most."""
    return _whole_number(EXPORTS_PER_TICK, 100, 1)


def checks_per_tick() -> int:
    """How many packages the re-verification schedule asks for at most."""
    return _whole_number(CHECKS_PER_TICK, 50, 1)


def keep_days() -> int:
    """After how many days housekeeping removes what the package repeats."""
    return _whole_number(KEEP_DAYS, 30, 0)


def _whole_number(name: str, default: int, least: int, unit: str = ", ") -> int:
    given = _value(name) or str(default)
    if not (given.isascii() and given.isdecimal()) or int(given) < least:
        raise ExportError(f"{name} is {given!r}; it must be a whole number{unit}{least} or more.")
    return int(given)
