"""The list of finding codes: what each means, which verdict it leads to, and which rule it rests on.

Belongs here: one row for each code, permanently (a code is never given a new meaning). Does not belong here: the checks
that raise them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Status(IntEnum):
    """The verdict on a package, which is the exit status of the command.

    Of several packages the worst counts; from the worst: UNUSABLE, INVALID, DIVERGED, INCOMPLETE, CONSISTENT,
    VERIFIED. That is
    also how the findings of one package are weighed.
    """

    VERIFIED = 0
    """Everything holds, and the signature was made with a key that the caller gave."""
    CONSISTENT = 10
    """Everything that can be checked without a key holds; no signer is shown."""
    INCOMPLETE = 20
    """Not an export: no manifest.json, or a staging folder."""
    DIVERGED = 30
    """Of a log: something is missing or extra, or it is not what it was."""
    INVALID = 40
    """At least one check failed."""
    UNUSABLE = 2
    """Wrong usage, or something could not be read, so that there is no verdict."""

    @property
    def severity(self) -> int:
        """Rank for comparing verdicts: a greater number is worse."""
        return _RANKING.index(self)


_RANKING = (
    Status.VERIFIED,
    Status.CONSISTENT,
    Status.INCOMPLETE,
    Status.DIVERGED,
    Status.INVALID,
    Status.UNUSABLE,
)


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding.

    Args:
        id: stable identifier, such as `E208`.
        name: stable short name, such as `file-sha256`.
        rule: the sentence that is violated.
        source: where that rule is stated ("package" is docs/package.md, "records" is docs/records.md).
        status: the verdict that one such finding leads to.
    """

    id: str
    name: str
    rule: str
    source: str
    status: Status = Status.INVALID

    def __str__(self) -> str:
        return f"{self.id} {self.name}"


_MANIFEST = "package: manifest.json"
_FOLDER = "package: The folder"
_RECORDS = "package: records.jsonl"
_TYPES = "records: 1, record types"
_ORDER = "records: 2, order"
_FORM = "records: 3, canonical form and signature"
_CORRUPT = "records: 4, what makes an audit database corrupt"

UNREADABLE = Code("E001", "unreadable", "The package can be read.", _FOLDER, Status.UNUSABLE)
NO_MANIFEST = Code(
    "E002", "no-manifest", "The presence of manifest.json says that the export is complete.", _FOLDER, Status.INCOMPLETE
)
STAGING = Code(
    "E003",
    "staging",
    "Names that begin with `.` are the exporter's own; they are never packages.",
    "package: Staging",
    Status.INCOMPLETE,
)

MANIFEST_SIZE = Code("E101", "manifest-too-large", "manifest.json has at most 4 MiB.", "this verifier")
MANIFEST_ENCODING = Code("E102", "manifest-not-utf8", "Canonical JSON is UTF-8 without a BOM.", "RFC 8785, 3.2.4")
MANIFEST_JSON = Code(
    "E103",
    "manifest-not-json",
    "manifest.json is one JSON object without NaN, infinite numbers, lone surrogates or nesting past the limit.",
    "RFC 8785, 3.1; RFC 7493, 2",
)
MANIFEST_REPEATED_KEY = Code("E104", "manifest-repeated-key", "No object has a key twice.", "RFC 7493, 2.3")
MANIFEST_NOT_CANONICAL = Code(
    "E105", "manifest-not-canonical", "manifest.json is in RFC 8785 canonical form, without a line end.", _MANIFEST
)
MANIFEST_UNKNOWN_KEY = Code("E106", "manifest-unknown-key", "The manifest has no keys but those specified.", _MANIFEST)
MANIFEST_MISSING_KEY = Code(
    "E107", "manifest-missing-key", "All keys are required but those marked optional.", _MANIFEST
)
MANIFEST_VALUE = Code("E108", "manifest-value", "Each value has the specified type and form.", _MANIFEST)
MANIFEST_FORMAT = Code(
    "E109",
    "manifest-unknown-format",
    "Format, version, contract, chain and algorithms are those specified; the verifier takes none on trust.",
    _MANIFEST,
)
MANIFEST_CONTRADICTION = Code(
    "E110", "manifest-contradiction", "The manifest's numbers agree with each other.", _MANIFEST
)
MANIFEST_PATH = Code("E111", "manifest-path", "A listed path is one of those that a package may have.", _FOLDER)
MANIFEST_FILE_ORDER = Code("E112", "manifest-file-order", "`files` is sorted by path, each path once.", _MANIFEST)
MANIFEST_FILE_SET = Code(
    "E113",
    "manifest-file-set",
    "VERIFY.md and at least one format are listed; csv and parquet have one file for each record type that occurs.",
    _FOLDER,
)

OTHER_RUN = Code("E121", "other-run", "The package is of the run that the caller asked for.", "option --run-id")
FOLDER_NAME = Code("E122", "folder-name", "The folder has the name that its run_id maps to.", "package: Folder name")

UNSIGNED = Code("E131", "unsigned", "A key was given, so the package must be signed.", "package: `signing`")
SIGNATURE = Code(
    "E132", "manifest-signature", "`signature` is the HMAC-SHA256 of the manifest under the key given.", _MANIFEST
)
NO_PUBLIC_SIGNATURE = Code(
    "E133",
    "no-public-signature",
    "A public key was given, so manifest.json.sig must be there.",
    "package: `public_key`",
)
OTHER_PUBLIC_KEY = Code(
    "E134", "other-public-key", "`public_key.key_id` is the SHA-256 of the public key given.", "package: `public_key`"
)
PUBLIC_SIGNATURE = Code(
    "E135", "public-signature", "manifest.json.sig is the Ed25519 signature of manifest.json.", _FOLDER
)
PUBLIC_SIGNATURE_SIZE = Code("E136", "public-signature-size", "manifest.json.sig has 64 raw bytes.", _FOLDER)
MANIFEST_TIMESTAMP = Code(
    "E137",
    "manifest-timestamp",
    "A time stamp that is given is the authority's, over manifest.json.",
    "option --timestamp",
)

FILE_MISSING = Code("E201", "file-missing", "Every file that the manifest promises is there.", _FOLDER)
FILE_UNLISTED = Code(
    "E202", "file-unlisted", "There is nothing in the folder that the manifest does not list.", _FOLDER
)
FOLDER_UNLISTED = Code("E203", "folder-unlisted", "A folder is there only because a listed file is in it.", _FOLDER)
NOT_REGULAR = Code("E204", "not-a-regular-file", "Every file is a regular file and every folder a folder.", _FOLDER)
HARD_LINK = Code("E205", "hard-link", "No file of the package has a second name elsewhere.", _FOLDER)
NAME_TWIN = Code("E206", "name-twin", "No two names differ only in letter case or Unicode normalisation.", _FOLDER)
FILE_SIZE = Code("E207", "file-size", "Every file has the listed size.", "package: `files`")
FILE_SHA256 = Code("E208", "file-sha256", "Every file has the listed SHA-256.", "package: `files`")
FILE_CHANGED = Code("E209", "file-changed", "No file is replaced or changed while it is verified.", "this verifier")

LINE_ENCODING = Code("E301", "line-not-utf8", "Lines are UTF-8 without a byte order mark.", _RECORDS)
LINE_JSON = Code(
    "E302",
    "line-not-json",
    "Each line is one JSON object without NaN, infinite numbers, lone surrogates or nesting past the limit.",
    _RECORDS,
)
LINE_REPEATED_KEY = Code("E303", "line-repeated-key", "No object has a key twice.", "RFC 7493, 2.3")
LINE_NOT_CANONICAL = Code("E304", "line-not-canonical", "Each line is in RFC 8785 canonical form.", _RECORDS)
LINE_TOO_LONG = Code("E305", "line-too-long", "A line has at most 64 MiB.", "this verifier")
LINE_UNFINISHED = Code("E306", "line-unfinished", "Every line ends with one LF, the last too.", _RECORDS)

RECORD_TYPE = Code("E311", "record-type", "record_type is one of the contract's.", _TYPES)
FIELD_MISSING = Code("E312", "field-missing", "A record has all fields of its type.", _TYPES)
FIELD_UNKNOWN = Code("E313", "field-unknown", "A record has no fields but those of its type.", _TYPES)
FIELD_TYPE = Code("E314", "field-type", "Each field has a value of its type.", _TYPES)
FIELD_NULL = Code("E315", "field-null", "Fields marked `!` are never null.", _TYPES)
FIELD_VALUE = Code("E316", "field-value", "Enums, ids, fingerprints and numbers have permitted values.", _CORRUPT)
RECORD_RULE = Code("E317", "record-rule", "The status of a record decides which of its fields are null.", _CORRUPT)
RECORD_RUN_ID = Code("E318", "record-run-id", "run_id is the exported run's id in every record.", _TYPES)
RECORD_UNSIGNED = Code("E321", "record-unsigned", "In a signed export every record has a signature.", _RECORDS)
RECORD_SIGNATURE = Code(
    "E322", "record-signature", "A record's signature is its HMAC-SHA256 under the key given.", _FORM
)
RECORD_ORDER = Code("E331", "record-order", "Record types follow each other in the contract's order.", _ORDER)
RECORD_MISPLACED = Code("E332", "record-misplaced", "A record follows the record that it belongs to.", _ORDER)
SIBLING_ORDER = Code("E333", "sibling-order", "Records of a type under one parent are in the contract's order.", _ORDER)
REPEATED_ID = Code("E334", "repeated-id", "No two records of a type have the same id.", _ORDER)
REFERENCE = Code("E335", "reference", "An id that refers to another record is the id of a record of the run.", _ORDER)
FINAL_HASH = Code("E341", "final-hash", "final_hash is the chain over all data records in order.", _FORM)
RECORD_COUNT = Code("E342", "record-count", "record_count and record_counts say how many records there are.", _MANIFEST)
NO_MANIFEST_RECORD = Code(
    "E343", "no-manifest-record", "The last line of a signed export is the manifest record.", _RECORDS
)
MANIFEST_RECORD_PLACE = Code(
    "E344",
    "manifest-record-place",
    "There is one manifest record, in the last line; up to v070 in signed exports only.",
    _RECORDS,
)
MANIFEST_RECORD = Code("E345", "manifest-record", "The manifest record agrees with manifest.json.", _RECORDS)
MANIFEST_RECORD_DERIVED = Code(
    "E347",
    "manifest-record-derived",
    "The manifest record of v071 is the one that its records, the run and the options of the export give.",
    _FORM,
)
MERKLE_ROOT = Code(
    "E348", "merkle-root", "merkle.root is the root of the RFC 6962 tree over all data records in order.", _MANIFEST
)
RUN_RECORD = Code("E346", "run-record", "The first record is the run's, and agrees with manifest.json.", _MANIFEST)

CSV = Code(
    "E401", "csv-differs", "A CSV file is, byte for byte, what the records give.", "package: csv/<record_type>.csv"
)

_DISCLOSURE = "package: Disclosures"
DISCLOSURE_FORM = Code(
    "E501", "disclosure-form", "A disclosure is canonical JSON with exactly the keys of its format.", _DISCLOSURE
)
DISCLOSURE_PACKAGE = Code(
    "E502", "disclosure-package", "Its manifest is of a signed package with a Merkle root.", _DISCLOSURE
)
DISCLOSURE_ORDER = Code("E503", "disclosure-order", "There are records, in order, none of them twice.", _DISCLOSURE)
INCLUSION = Code(
    "E504", "inclusion-proof", "The proof of each record leads to the manifest's Merkle root.", _DISCLOSURE
)

_LOG = "log: The log"
NO_LOG = Code("E601", "no-log", "There is a log, with a checkpoint and at least one entry.", _LOG, Status.DIVERGED)
CHECKPOINT = Code("E602", "checkpoint", "A checkpoint is a signed note of origin, size and root.", _LOG)
CHECKPOINT_SIGNATURE = Code("E603", "checkpoint-signature", "A checkpoint is signed with the log's key.", _LOG)
CHECKPOINT_ORIGIN = Code("E604", "checkpoint-origin", "A checkpoint is of the log that was asked for.", _LOG)
LOG_FILE_MISSING = Code(
    "E605", "log-file-missing", "Every entry, and every hash of the tree, is there.", _LOG, Status.DIVERGED
)
LOG_FILE = Code("E606", "log-file", "Files of the log hold the entries, and the hashes of their tree.", _LOG)
LOG_ROOT = Code("E607", "log-root", "The tree over all entries has the checkpoint's root.", _LOG)
LOG_ENTRY = Code("E608", "log-entry", "An entry is canonical JSON with the keys of its kind.", _LOG)
NO_PACKAGE = Code("E609", "package-missing", "Every entry has its package.", _LOG, Status.DIVERGED)
NO_ENTRY = Code("E610", "entry-missing", "Every package has its entry.", _LOG, Status.DIVERGED)
ENTRY_PACKAGE = Code("E611", "entry-package", "An entry says what the manifest of its package says.", _LOG)
LOGGED_PACKAGE = Code("E612", "logged-package", "Every package of the log verifies.", _LOG)
LOG_CUT = Code("E613", "log-cut", "A log never gets shorter.", _LOG, Status.DIVERGED)
LOG_FORKED = Code("E614", "log-forked", "A log begins with what it was before.", _LOG, Status.DIVERGED)
ENTRY_TWICE = Code("E615", "entry-twice", "No publication is logged twice.", _LOG)
COSIGNATURE = Code("E616", "cosignature", "A cosignature is that of its witness.", _LOG)
LOG_PROOF = Code("E617", "log-proof", "The proof of an entry leads to the checkpoint's root.", _LOG)
LOG_FILE_UNKNOWN = Code("E618", "log-file-unknown", "There is nothing but the log in its folder.", _LOG)
TIMESTAMP = Code("E620", "timestamp", "A time stamp is the authority's, over a checkpoint of the log.", _LOG)
ENTRY_ORDER = Code("E619", "entry-order", "The last entry of a run is that of its present package.", _LOG)

CODES: dict[str, Code] = {code.id: code for code in list(globals().values()) if isinstance(code, Code)}
"""Every code by its id, in the order of this page."""
