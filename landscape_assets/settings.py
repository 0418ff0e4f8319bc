"""Every setting: one frozen object of what the environment and the options of a command say.

Belongs here: names, defaults and meaning of the environment variables; the README's table lists them. In the folder of
a sample that `landscape-assets demo` made, what is not set is taken from the sample, so that `dg dev` starts with
no environment. Does not belong here: what is done with the settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .budget import DEFAULT_MEMORY_MB, SMALLEST_MEMORY_MB, Budget
from .errors import ExportError, SigningKeyError
from .evidence import LogSettings, check_origin
from .formats import FORMATS
from .mail import MailServer
from .records.manifest_v2 import ManifestOptions
from .records.sign import ManifestKey, SigningKey
from .storage.work_dirs import staging_root

DATABASE_URL = "LANDSCAPE_DATABASE_URL"
EXPORT_DIR = "LANDSCAPE_EXPORT_DIR"
SIGNING_KEY = "LANDSCAPE_SIGNING_KEY"
SIGNING_KEY_FILE = "LANDSCAPE_SIGNING_KEY_FILE"
SIGNING_KEY_ID = "LANDSCAPE_SIGNING_KEY_ID"
PRIVATE_KEY_FILE = "LANDSCAPE_SIGNING_PRIVATE_KEY_FILE"
LOG_ORIGIN = "LANDSCAPE_LOG_ORIGIN"
TIMESTAMP_URL = "LANDSCAPE_TIMESTAMP_URL"
SIGN = "LANDSCAPE_SIGN"
FORMAT_NAMES = "LANDSCAPE_FORMATS"
RAW_ERROR_ROWS = "LANDSCAPE_RAW_ERROR_ROWS"
SIGNER_KEY_ID = "LANDSCAPE_SIGNER_KEY_ID"
CHUNK_RECORDS = "LANDSCAPE_CHUNK_RECORDS"
CHUNK_BYTES = "LANDSCAPE_CHUNK_BYTES"
EXPORT_FORMAT = "LANDSCAPE_EXPORT_FORMAT"
EXPORTER_VERSION = "LANDSCAPE_EXPORTER_VERSION"
CHUNKING_VERSION = "LANDSCAPE_CHUNKING_VERSION"
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
ALERT_URL = "LANDSCAPE_ALERT_URL"
ALERT_MAIL = "LANDSCAPE_ALERT_MAIL"
UI_URL = "LANDSCAPE_UI_URL"
DAGSTER_HOME = "DAGSTER_HOME"

_OPTION_OF = {EXPORT_DIR: f"The export folder (--output or {EXPORT_DIR})"}
"""What messages call a setting that is an option, too."""

DEFAULT_CRONS = {
    CHECK_CRON: "0 1 * * *",
    SCHEDULE_CRON: "0 2 * * *",
    VERIFY_CRON: "0 4 * * *",
    HOUSEKEEPING_CRON: "0 6 * * *",
}

SAMPLE_DIR = Path("demo")
"""Where `landscape-assets demo` puts the sample when it is not told otherwise, relative to the working folder."""

SAMPLE_FILES = {DATABASE_URL: "landscape.db", EXPORT_DIR: "exports", SIGNING_KEY_FILE: "signing.key"}
"""What the sample has for a setting, in its folder."""


def sample_settings(folder: Path) -> dict[str, str]:
    """The settings that lead to a sample in a folder."""
    found = {name: str(folder / file) for name, file in SAMPLE_FILES.items()}
    return found | {DATABASE_URL: f"sqlite:///{found[DATABASE_URL]}"}


@dataclass(frozen=True, eq=False)
class Settings:
    """The settings as they stood at one moment.

    Making the object never fails. A setting is checked when it is first asked for, so that a wrong one stops what needs
    it, and nothing else; each property raises ExportError when its setting is wrong, is set and empty, or is not UTF-8.

    Args:
        given: variable → its value, for those that are set.
        supersede: replace a package that is there and differs, and keep the old one aside. It has no variable.
        interrupted: export runs that were interrupted, too, which may go on. It has no variable.
    """

    given: Mapping[str, str] = field(repr=False)
    supersede: bool = False
    interrupted: bool = False

    @classmethod
    def from_environment(
        cls, options: Mapping[str, str | None] | None = None, *, supersede: bool = False, interrupted: bool = False
    ) -> Settings:
        """The settings of this process.

        Args:
            options: variable → what an option says instead; None for an option that was not given.
            supersede, interrupted: see `Settings`.
        """
        given = {name: text for name, text in os.environ.items() if name.startswith("LANDSCAPE_")}
        if DAGSTER_HOME in os.environ:
            given[DAGSTER_HOME] = os.environ[DAGSTER_HOME]
        given |= {name: text for name, text in (options or {}).items() if text is not None}
        if DATABASE_URL not in given and (SAMPLE_DIR / SAMPLE_FILES[DATABASE_URL]).is_file():
            given = sample_settings(SAMPLE_DIR.resolve()) | given
        return cls(given, supersede, interrupted)

    @cached_property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the audit database; empty when none is set."""
        return self._value(DATABASE_URL) or ""

    @cached_property
    def export_dir(self) -> Path:
        """The export folder. Raises ExportError when none is set, too."""
        if self.export_dir_if_set is None:
            raise ExportError(f"No export folder is named. Give it with --output or {EXPORT_DIR}.")
        return self.export_dir_if_set

    @cached_property
    def export_dir_if_set(self) -> Path | None:
        """The export folder; None when none is set."""
        return self._folder(EXPORT_DIR)

    @cached_property
    def storage_dir(self) -> Path | None:
        """Where tables are kept between the steps; None for the Dagster instance's own storage folder."""
        return self._folder(STORAGE_DIR)

    @cached_property
    def scratch_dir(self) -> Path | None:
        """Where temporary files go; None for a folder beside the storage, or in the export folder."""
        return self._folder(SCRATCH_DIR)

    @cached_property
    def dagster_home(self) -> str | None:
        """The folder of the Dagster instance; None for an ephemeral instance."""
        return self._value(DAGSTER_HOME)

    @cached_property
    def signs(self) -> bool:
        """Whether exports are signed; they are unless LANDSCAPE_SIGN says no."""
        return self._is_yes(SIGN, "yes")

    @cached_property
    def key(self) -> SigningKey | None:
        """The key of records and manifests; None when exports are not signed.

        Raises:
            SigningKeyError: exports are signed, and there is no usable key.
        """
        if not self.signs:
            return None
        key_id = self._value(SIGNING_KEY_ID)
        if (text := self._text(SIGNING_KEY)) is not None:
            key = SigningKey(text, key_id)
            if text.endswith(("\r", "\n")):
                raise SigningKeyError(
                    f"{SIGNING_KEY} ends in a line end. In a key file that is not part of the key, so that packages "
                    f"signed with it would not verify with the file that it may come from. Set the variable without "
                    f"the line end, or name the file in {SIGNING_KEY_FILE}."
                )
            return key
        if (file := self._value(SIGNING_KEY_FILE)) is None:
            raise SigningKeyError(
                f"There is no signing key. Give one with {SIGNING_KEY} or {SIGNING_KEY_FILE}, or choose an unsigned "
                f"export with --no-sign ({SIGN}=no)."
            )
        try:
            text = Path(file).read_bytes().decode()
        except OSError as error:
            raise SigningKeyError(f"The signing key file {file} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise SigningKeyError(f"The signing key file {file} is not UTF-8 text.") from None
        # One line end at the end of the file is not part of the key; the verifier takes a key file so, too.
        return SigningKey(text.removesuffix("\r\n" if text.endswith("\r\n") else "\n"), key_id)

    @cached_property
    def manifest_key(self) -> ManifestKey | None:
        """The Ed25519 key of manifest.json.sig, if one is set. Raises SigningKeyError when it cannot be used."""
        file = self._value(PRIVATE_KEY_FILE)
        return ManifestKey.load(Path(file)) if file else None

    @cached_property
    def timestamp_url(self) -> str | None:
        """The authority that stamps the checkpoints of the log; None for none."""
        return self._value(TIMESTAMP_URL)

    @cached_property
    def log(self) -> LogSettings | None:
        """What the export log is kept with; None without a private key, which signs it."""
        if (origin := self._value(LOG_ORIGIN)) is not None:
            check_origin(origin)
        url = self.timestamp_url
        return None if self.manifest_key is None else LogSettings(self.manifest_key, origin, url)

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """The output formats, in the order of FORMATS; all of them unless LANDSCAPE_FORMATS names some."""
        given = [name.strip() for name in (self._value(FORMAT_NAMES) or ",".join(FORMATS)).split(",")]
        if unknown := [name for name in given if name not in FORMATS]:
            raise ExportError(f"{FORMAT_NAMES} names {unknown[0]!r}; the formats are {', '.join(FORMATS)}.")
        if set(given) == {"html"}:
            raise ExportError(f"{FORMAT_NAMES} names html alone. A report proves nothing without records: name jsonl.")
        return tuple(name for name in FORMATS if name in given)

    @cached_property
    def options(self) -> ManifestOptions:
        """What manifest records of ELSPETH 0.7.1 depend on, and whether records of errors have the rows they are of."""
        usual = ManifestOptions()
        return ManifestOptions(
            signer_key_id=self._value(SIGNER_KEY_ID),
            export_format=self._value(EXPORT_FORMAT) or usual.export_format,
            exporter_version=self._value(EXPORTER_VERSION) or usual.exporter_version,
            chunking_algorithm_version=self._value(CHUNKING_VERSION) or usual.chunking_algorithm_version,
            per_chunk_record_limit=self._whole_number(CHUNK_RECORDS, usual.per_chunk_record_limit, 1),
            per_chunk_byte_limit=self._whole_number(CHUNK_BYTES, usual.per_chunk_byte_limit, 1),
            raw_error_rows=self._is_yes(RAW_ERROR_ROWS, "no"),
        )

    @cached_property
    def budget(self) -> Budget:
        """How much memory the export may take beyond the process itself and an index of ids."""
        return Budget(memory_mb=self._whole_number(MEMORY_MB, DEFAULT_MEMORY_MB, SMALLEST_MEMORY_MB, " of MiB, "))

    def cron(self, name: str) -> str:
        """When a schedule ticks, as a cron expression, by the name of its setting."""
        return self._value(name) or DEFAULT_CRONS[name]

    @cached_property
    def schedule_timezone(self) -> str:
        """The time zone of the schedules."""
        return self._value(SCHEDULE_TIMEZONE) or "UTC"

    @cached_property
    def exports_per_tick(self) -> int:
        """How many exports the nightly schedule asks for at most."""
        return self._whole_number(EXPORTS_PER_TICK, 100, 1)

    @cached_property
    def checks_per_tick(self) -> int:
        """How many packages the re-verification schedule asks for at most."""
        return self._whole_number(CHECKS_PER_TICK, 50, 1)

    @cached_property
    def keep_days(self) -> int:
        """After how many days housekeeping removes what the package repeats."""
        return self._whole_number(KEEP_DAYS, 30, 0)

    @cached_property
    def alert_url(self) -> str | None:
        """Where alerts are posted; None for nowhere."""
        return self._value(ALERT_URL)

    @cached_property
    def alert_mail(self) -> MailServer | None:
        """The server and the addresses that alerts are mailed by; None for none."""
        given = self._value(ALERT_MAIL)
        try:
            return None if given is None else MailServer.parse(given)
        except ValueError as error:
            raise ExportError(f"{ALERT_MAIL} cannot be read: {error}.") from None  # not repeated: it holds a password

    @cached_property
    def ui_url(self) -> str:
        """The address of the UI without a slash at its end, for links in alerts; empty when none is set."""
        return (self._value(UI_URL) or "").rstrip("/")

    def check(self) -> Settings:
        """These settings, all that exports are made with and all folders checked, used or not.

        Raises:
            ExportError: one of them is wrong.
        """
        _ = (self.storage_dir, self.database_url, self.export_dir, self.key, self.manifest_key, self.formats)
        _ = (self.budget, self.scratch_dir, self.options, self.log)
        return self

    def require_folders(self) -> None:
        """Makes sure, as far as can be seen without writing, that the folders that are set can be written to.

        Raises:
            ExportError: one of them cannot, or none is set for the exports.
        """
        _ = self.dagster_home  # whether it can be used, Dagster says
        folders = (
            (EXPORT_DIR, self.export_dir),
            (EXPORT_DIR, staging_root(self.export_dir)),
            (SCRATCH_DIR, self.scratch_dir),
        )
        for name, folder in folders:
            if folder is not None and (reason := _why_unusable(folder)) is not None:
                raise ExportError(
                    f"{_OPTION_OF.get(name, name)} cannot be used: {reason}. Fix it, or name another folder."
                )

    def _text(self, name: str) -> str | None:
        """What a variable is set to; None when it is unset."""
        given = self.given.get(name)
        # Python keeps bytes that are not UTF-8 as surrogates.
        if given is not None and any("\ud800" <= c <= "\udfff" for c in given):
            raise ExportError(f"{name} is not UTF-8 text.")  # not repeated: it may hold a password
        return given

    def _value(self, name: str) -> str | None:
        """The same of a variable that may not be empty, as an unset variable of a shell or a template makes it."""
        given = self._text(name)
        if given == "":
            raise ExportError(f"{_OPTION_OF.get(name, name)} is set, and empty. Give it a value, or unset it.")
        return given

    def _is_yes(self, name: str, default: str) -> bool:
        given = (self._value(name) or default).lower()
        if given not in ("yes", "no"):
            raise ExportError(f"{name} is {given!r}; it must be yes or no.")
        return given == "yes"

    def _folder(self, name: str) -> Path | None:
        given = self._value(name)
        if given is None:
            return None
        try:
            return Path(given).absolute()
        except FileNotFoundError:
            raise ExportError(
                f"{_OPTION_OF.get(name, name)} is {given!r}, relative to the working folder, which is no longer there. "
                f"Give an absolute path."
            ) from None

    def _whole_number(self, name: str, default: int, least: int, unit: str = ", ") -> int:
        given = self._value(name) or str(default)
        if not (given.isascii() and given.isdecimal()) or int(given) < least:
            raise ExportError(f"{name} is {given!r}; it must be a whole number{unit}{least} or more.")
        return int(given)


def _why_unusable(folder: Path) -> str | None:
    """Why a folder cannot be written to, or be made where it is to be."""
    try:
        for path in (folder, *folder.parents):
            if not os.path.lexists(path):
                continue
            if not path.is_dir():
                return f"{path} is not a folder"
            # A folder must be readable to be synced.
            needed = os.W_OK | os.X_OK | (os.R_OK if path == folder else 0)
            return None if os.access(path, needed) else f"this user may not read or write {path}"
    except OSError as error:
        return f"{error.strerror} ({error.filename or folder})"
    return None
