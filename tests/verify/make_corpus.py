"""Makes the corpus: small packages that are kept permanently, each named after the finding that it must lead to.

Belongs here: how each fixture is made. A fixture that exists is never made again: what was once a finding stays one.
Run as `python -m tests.verify.make_corpus`; what git cannot keep (links, FIFOs, empty folders) is made by the tests
instead.

A fixture is a folder `corpus/<code>_<name>/` with one package in it and `expect.json`: the codes found, and the
options given.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import build, generations
from .build import KEY, OTHER_KEY
from .small import small_run

CORPUS = Path(__file__).parent / "corpus"
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
"""A key for tests; its public half is corpus/public.pem."""
OTHER_PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))

Maker = Callable[[Path], object]
LOST = ("E341", "E342", "E345")
"""Codes that follow when a line cannot be read as a record: the chain, the counts, the manifest record."""
FIXTURES: dict[str, tuple[Maker, dict[str, object]]] = {}


def fixture(name: str, maker: Maker, *also: str, **options: object) -> None:
    """Note a fixture: its maker, the codes that are found besides the one in its name, and options of the
    verification."""
    FIXTURES[name] = (maker, {"also": list(also), **options})


def package(**more: object) -> Maker:
    """Makes the small package with changes."""
    more = {"formats": ("jsonl",), **more}
    return lambda parent: build.build(parent, small_run(), **more)


def manifest(edit: Callable[[dict], object], **more: object) -> Maker:
    """Makes the small package with a changed manifest, validly signed."""
    return package(edit_manifest=edit, **more)


def raw_manifest(edit: Callable[[bytes], bytes]) -> Maker:
    """Makes the small package and changes the bytes of its manifest."""
    return package(after=lambda files: files.update({"manifest.json": edit(files["manifest.json"])}))


def records(edit: Callable[[list[dict]], object], **more: object) -> Maker:
    """Makes a package of changed records, validly signed."""

    def make(parent: Path) -> Path:
        some = small_run()
        edit(some)
        return build.build(parent, some, **{"formats": ("jsonl",), **more})

    return make


def lines(edit: Callable[[list[bytes]], list[bytes]], **more: object) -> Maker:
    """Makes a package whose lines are changed before the files are hashed and the manifest is signed."""
    return package(edit_lines=edit, **more)


def line(index: int, edit: Callable[[bytes], bytes]) -> Maker:
    """As `lines`, for one line."""
    return lines(lambda all_lines: [edit(one) if at == index else one for at, one in enumerate(all_lines)])


def set_field(record_type: str, name: str, value: object, nth: int = 0) -> Maker:
    """Makes a package in which one record of a type has another value."""

    def edit(some: list[dict]) -> None:
        [one for one in some if one["record_type"] == record_type][nth][name] = value

    return records(edit)


def find(some: list[dict], record_type: str, nth: int = 0) -> int:
    """Where the n-th record of a type is."""
    return [index for index, one in enumerate(some) if one["record_type"] == record_type][nth]


def move(record_type: str, nth: int, to: int) -> Maker:
    """Makes a package in which a record has been moved by some places."""

    def edit(some: list[dict]) -> None:
        index = find(some, record_type, nth)
        some.insert(index + to, some.pop(index))

    return records(edit)


def setter(*path: object, value: object) -> Callable[[dict], None]:
    """An edit that sets a member of a nested value."""

    def edit(target: dict) -> None:
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return edit


def resigned(one: bytes, **changes: object) -> bytes:
    """A line with changed fields and a new signature."""
    return rfc8785.dumps(build.sign({**json.loads(one), **changes}, KEY))


def replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    """The content with the one occurrence of a part replaced."""
    assert content.count(old) == 1, (old, content.count(old))
    return content.replace(old, new)


# Sound packages.
for formats in (("jsonl",), ("jsonl", "csv"), ("jsonl", "csv", "parquet"), ("csv",), ("parquet",)):
    fixture(f"ok_{'_'.join(formats)}", package(formats=formats))
fixture("ok_public_key", package(private_key=PRIVATE_KEY), public_key=True)
fixture("ok_public_key_alone", package(key=None, private_key=PRIVATE_KEY), public_key=True, key=None)
fixture("ok_v0", lambda parent: build.build(parent, small_run(contract="v0"), contract="v0"))
fixture("ok_unsigned", package(key=None, formats=("jsonl", "csv")), key=None, status=10)
fixture("ok_no_key_given", package(), key=None, status=10)
fixture("ok_supersedes", manifest(setter("supersedes", value={"manifest_sha256": "0" * 64})))
fixture("ok_run_id_as_folder_name", lambda parent: build.build(parent, small_run(".. /ä\n%")))
fixture("ok_empty_run_id", lambda parent: build.build(parent, small_run("")))
fixture(
    "ok_long_run_id",
    lambda parent: build.build(
        parent,
        small_run("ä" * 100),
        name="%C3%A4" * 20 + "%~" + build.hashlib.sha256(("ä" * 100).encode()).hexdigest(),
    ),
)
fixture("ok_failed_run", set_field("run", "status", "failed"))
fixture("ok_leap_day", set_field("batch", "created_at", "2028-02-29T12:00:15+00:00"))

# Not a package.
fixture("E002_no-manifest", package(after=lambda files: files.pop("manifest.json")))
fixture("E003_staging", lambda parent: build.build(parent / ".staging", small_run(), formats=("jsonl",)))

# manifest.json.
fixture("E102_manifest-not-utf8", raw_manifest(lambda data: data.replace(b"run-small", b"run-sm\xe4ll")))
fixture("E102_byte-order-mark", raw_manifest(lambda data: b"\xef\xbb\xbf" + data))
fixture("E103_manifest-not-json", raw_manifest(lambda data: data[:-1]))
fixture("E103_array", raw_manifest(lambda data: b"[" + data + b"]"))
fixture("E103_nan", raw_manifest(lambda data: data.replace(b'"format_version":1', b'"format_version":NaN')))
fixture("E103_huge-number", raw_manifest(lambda data: data.replace(b'"format_version":1', b'"format_version":1e999')))
fixture(
    "E103_huge-integer",
    raw_manifest(lambda data: data.replace(b'"format_version":1', b'"format_version":' + b"9" * 9999)),
)
fixture("E103_lone-surrogate", raw_manifest(lambda data: data.replace(b'"v1"', rb'"\ud800"')))
fixture(
    "E103_deep", raw_manifest(lambda data: replaced(data, b'"format_version":1', b'"format_version":' + b"[" * 20000))
)
fixture("E103_empty", raw_manifest(lambda data: b""))
fixture(
    "E104_manifest-repeated-key",
    raw_manifest(lambda data: data.replace(b'"format_version":1', b'"format_version":2,"format_version":1')),
)
fixture("E105_manifest-not-canonical", raw_manifest(lambda data: data.replace(b":", b": ", 1)))
fixture("E105_line-end", raw_manifest(lambda data: data + b"\n"))
fixture("E105_number-form", raw_manifest(lambda data: replaced(data, b'"format_version":1', b'"format_version":1.0')))
fixture("E106_manifest-unknown-key", manifest(setter("note", value="trust me")))
fixture("E107_manifest-missing-key", manifest(lambda value: value.pop("tables")))
fixture("E108_manifest-value", manifest(setter("record_count", value="31")))
fixture("E108_boolean-version", manifest(setter("supersedes", value=True)))
fixture("E108_exported-at", manifest(setter("exported_at", value="2026-13-22T01:21:58.528797+00:00")))
fixture("E108_not-finished", manifest(setter("status", value="running")))
fixture("E109_manifest-unknown-format", manifest(setter("format_version", value=2)))
fixture("E109_contract", manifest(setter("contract", value="v9")))
fixture("E109_weaker-chain", manifest(setter("chain", value="md5-of-record-signatures")))
fixture("E109_no-algorithm", manifest(setter("signing", "algorithm", value="none")))
fixture("E110_manifest-contradiction", manifest(setter("tables", "calls", value=4)))
fixture("E110_count-by-type", manifest(setter("record_counts", "edge", value=3)), "E342")
fixture("E110_media-type", manifest(setter("files", 0, "media_type", value="text/plain")))
fixture("E110_records-of-file", manifest(setter("files", 1, "records", value=30)))
fixture("E111_manifest-path", manifest(setter("files", 0, "path", value="../VERIFY.md")))
fixture("E111_absolute-path", manifest(setter("files", 0, "path", value="/etc/hostname")))
fixture("E111_other-type", manifest(setter("files", 0, "path", value="csv/manifest.csv")))
fixture("E112_manifest-file-order", manifest(lambda value: value["files"].reverse()))
fixture("E112_path-twice", manifest(lambda value: value["files"].append(value["files"][-1])))
fixture("E113_manifest-file-set", package(edit_files=lambda files: files.pop("VERIFY.md")))
fixture("E113_csv-of-a-type", package(formats=("jsonl", "csv"), edit_files=lambda files: files.pop("csv/edge.csv")))
fixture("E113_no-format", package(formats=()))

# Identity.
fixture("E121_other-run", package(), run_id="run-other")
fixture("E122_folder-name", package(name="run-other"))

# Signatures of the manifest.
fixture("E131_unsigned", package(key=None))
fixture(
    "E132_manifest-signature", raw_manifest(lambda data: replaced(data, b'"version":"0.1.0"', b'"version":"0.1.1"'))
)
fixture("E132_other-key", package(key=OTHER_KEY), "E322")
fixture("E133_no-public-signature", package(), public_key=True)
fixture(
    "E133_removed",
    package(private_key=PRIVATE_KEY, after=lambda files: files.pop("manifest.json.sig")),
    "E201",
    public_key=True,
)
fixture("E134_other-public-key", package(private_key=OTHER_PRIVATE_KEY), "E135", public_key=True)
fixture(
    "E135_public-signature",
    package(
        private_key=PRIVATE_KEY,
        after=lambda files: files.update({"manifest.json.sig": OTHER_PRIVATE_KEY.sign(files["manifest.json"])}),
    ),
    public_key=True,
)
fixture(
    "E136_public-signature-size",
    package(private_key=PRIVATE_KEY, after=lambda files: files.update({"manifest.json.sig": b"\0" * 63})),
    public_key=True,
)

# Files.
fixture("E201_file-missing", package(after=lambda files: files.pop("VERIFY.md")))
fixture("E201_records-missing", package(after=lambda files: files.pop("records.jsonl")))
fixture("E202_file-unlisted", package(after=lambda files: files.update({"notes.txt": b"?"})))
fixture("E202_dot-file", package(after=lambda files: files.update({".DS_Store": b"?"})))
fixture("E202_signature-nobody-listed", package(after=lambda files: files.update({"manifest.json.sig": b"\0" * 64})))
fixture("E203_folder-unlisted", package(after=lambda files: files.update({"csv/edge.csv": b"?"})))
fixture("E207_file-size", package(after=lambda files: files.update({"VERIFY.md": files["VERIFY.md"] + b"\n"})))
fixture("E207_lying-size", manifest(setter("files", 0, "size", value=2**53 - 1)))
fixture("E208_file-sha256", package(after=lambda files: files.update({"VERIFY.md": files["VERIFY.md"].swapcase()})))

# Lines. The manifest is signed afterwards: these are the faults of an exporter.
fixture("E301_line-not-utf8", line(1, lambda data: replaced(data, b"API_KEY", b"API_K\xc9Y")), *LOST)
fixture("E302_line-not-json", line(6, lambda data: data[:-1]), *LOST)
fixture("E302_empty-line", lines(lambda some: [*some[:3], b"", *some[3:]]), "E342", "E345")
fixture("E302_nan", line(1, lambda data: replaced(data, b"1e-7", b"NaN")), *LOST)
fixture("E302_huge-number", line(1, lambda data: replaced(data, b"1e-7", b"1e400")), *LOST)
fixture("E302_lone-surrogate", line(1, lambda data: replaced(data, b"API_KEY", rb"\udc00")), *LOST)
fixture(
    "E302_deep",
    line(4, lambda data: replaced(data, b'"config":-1', b'"config":' + b"[" * 300 + b"]" * 300)),
    *LOST,
    "E335",
)
fixture(
    "E303_line-repeated-key",
    line(12, lambda data: replaced(data, b'"row_index":0', b'"row_index":0,"row_index":0')),
    *LOST,
    "E332",
)
fixture("E304_line-not-canonical", line(12, lambda data: data.replace(b",", b", ")))
fixture("E304_carriage-return", line(12, lambda data: data + b"\r"))
fixture("E304_escape", line(12, lambda data: replaced(data, b'"row"', rb'"ro\u0077"')))
fixture("E304_minus-zero", line(12, lambda data: replaced(data, b'"row_index":0', b'"row_index":-0')))
fixture("E304_number-form", line(16, lambda data: replaced(data, b"0.30000000000000004", b"0.300000000000000040")))
fixture(
    "E306_line-unfinished",
    package(edit_files=lambda files: files.update({"records.jsonl": files["records.jsonl"][:-1]})),
)

# Records.
fixture(
    "E311_record-type",
    lines(lambda some: [*some[:-1], resigned(some[2], record_type="checkpoint"), some[-1]]),
    "E342",
    "E345",
)
fixture("E312_field-missing", records(lambda some: some[find(some, "row")].pop("source_data_hash")))
fixture("E313_field-unknown", set_field("row", "note", "hello"))
fixture("E314_field-type", set_field("row", "row_index", "0"))
fixture("E314_schema-fields", set_field("node", "schema_fields", [1]))
fixture("E315_field-null", set_field("edge", "label", None))
fixture("E316_field-value", set_field("edge", "default_mode", "teleport"))
fixture("E316_time", set_field("batch", "created_at", "2026-02-30T12:00:00"))
fixture("E316_time-fraction", set_field("batch", "created_at", "2026-02-20T12:00:00.000000"))
fixture("E316_negative", set_field("row", "row_index", -1))
fixture("E316_fingerprint", set_field("secret_resolution", "fingerprint", "F" * 64))
fixture("E317_record-rule", set_field("node_state", "output_hash", None, nth=1))
fixture("E317_terminal", set_field("token_outcome", "is_terminal", False, nth=1))
fixture(
    "E317_terminal-twice",
    records(lambda some: some[find(some, "token_outcome")].update(outcome="routed", is_terminal=True)),
)
fixture("E317_both-parents", set_field("call", "state_id", "state-1"))
fixture("E318_record-run-id", set_field("edge", "run_id", "run-other"))
fixture(
    "E321_record-unsigned",
    lambda parent: build.build(
        parent,
        [one if one["record_type"] == "row" else build.sign(one, KEY) for one in small_run()],
        formats=("jsonl",),
        sign_records=False,
    ),
)
fixture("E322_record-signature", records(lambda some: some.__setitem__(6, build.sign(some[6], OTHER_KEY))))
fixture("E322_spliced", records(lambda some: some.__setitem__(6, {**build.sign(some[7], KEY), "edge_id": "edge-1"})))
fixture("E322_form", records(lambda some: some[6].update(signature="0" * 63)), "E341", "E345")
fixture("E331_record-order", move("operation", 0, -2), "E332")
fixture("E332_record-misplaced", move("row", 1, 2))
fixture("E332_other-parent", set_field("routing_event", "state_id", "state-1"))
fixture("E333_sibling-order", move("batch_member", 0, 1))
fixture("E333_secrets", move("secret_resolution", 0, 1))
fixture("E333_rows", records(lambda some: some[find(some, "row")].update(row_index=7)))
fixture("E333_attempts", move("node_state", 0, 1), "E332")
fixture("E334_repeated-id", records(lambda some: some.insert(7, dict(some[7]))))
fixture("E335_reference", set_field("batch_member", "token_id", "token-9"))
fixture("E335_node", set_field("node_state", "node_id", "node-9"))
fixture("E341_final-hash", manifest(setter("final_hash", value="0" * 64)))
fixture("E342_record-count", lines(lambda some: [*some[:6], *some[7:]]), "E341", "E345")
fixture("E343_no-manifest-record", lines(lambda some: some[:-1]))
fixture("E344_manifest-record-place", lines(lambda some: [*some, some[-1]]))
fixture(
    "E344_unsigned",
    lines(
        lambda some: [
            *some,
            rfc8785.dumps(
                {
                    "record_type": "manifest",
                    "run_id": "run-small",
                    "record_count": 31,
                    "final_hash": "0" * 64,
                    "hash_algorithm": "sha256",
                    "signature_algorithm": "hmac-sha256",
                    "exported_at": "x",
                }
            ),
        ],
        key=None,
    ),
    key=None,
)
fixture("E345_manifest-record", package(final=setter("exported_at", value="2026-11-22T01:21:58.528798+00:00")))
fixture("E345_count", package(final=setter("record_count", value=30)))
fixture("E346_run-record", manifest(setter("completed_at", value="2026-03-01T12:00:58.250000")))
fixture("E346_status", manifest(setter("status", value="failed")))
fixture("E346_not-first", move("run", 0, 1), "E331")

# Format version 2: the Merkle root.
SECOND = {"version": 2}
fixture("ok_format_2", package(**SECOND, formats=("jsonl", "csv", "parquet")))
fixture("ok_format_2_unsigned", package(**SECOND, key=None), key=None, status=10)
fixture("ok_format_2_without_jsonl", package(**SECOND, formats=("csv",)))
fixture("E108_merkle-null", manifest(setter("merkle", value=None), **SECOND))
fixture("E108_merkle-root-in-capitals", manifest(setter("merkle", "root", value="AB" * 32), **SECOND))
fixture("E109_merkle-algorithm", manifest(setter("merkle", "algorithm", value="sha1"), **SECOND))
fixture("E109_merkle-in-version-1", manifest(setter("format_version", value=1), **SECOND))
fixture("E109_version-2-without-merkle", manifest(lambda value: value.pop("merkle"), **SECOND))
fixture("E110_merkle-size", manifest(setter("merkle", "size", value=1), **SECOND))
fixture("E348_merkle-root", manifest(setter("merkle", "root", value="0" * 64), **SECOND))
SWAPPED = lines(lambda some: [*some[:2], some[3], some[2], *some[4:]], **SECOND)
fixture("E348_records-swapped", SWAPPED, "E331", "E341", "E345")

# CSV.
fixture(
    "E401_csv-differs",
    package(
        formats=("jsonl", "csv"),
        edit_files=lambda files: files.update(
            {"csv/node.csv": files["csv/node.csv"].replace(b"'=plugin()", b"=plugin()")}
        ),
    ),
)
fixture(
    "E401_short",
    package(
        formats=("jsonl", "csv"), edit_files=lambda files: files.update({"csv/row.csv": files["csv/row.csv"][:-1]})
    ),
)
fixture(
    "E401_long",
    package(
        formats=("jsonl", "csv"), edit_files=lambda files: files.update({"csv/row.csv": files["csv/row.csv"] + b"x"})
    ),
)


def generation(contract: str, key: bytes | None = KEY, **more: object) -> Maker:
    """Makes a package of a small run that ELSPETH of a newer generation exported."""
    records = generations.data_records(contract, small=True)
    return lambda parent: generations.build_package(parent, records, contract, key, **more)


for contract in generations.EXPORTS:
    fixture(f"ok_{contract}", generation(contract))
fixture("ok_v071_unsigned", generation("v071", None), key=False, status=10)
fixture(
    "E347_manifest-record-derived",
    generation("v071", formats=("jsonl",), edit_last=lambda core: core.update(snapshot_hash="0" * 64)),
)


def main() -> None:
    """Make the fixtures that are not there yet."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    CORPUS.mkdir(exist_ok=True)
    pem = PRIVATE_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (CORPUS / "public.pem").write_bytes(pem)
    (CORPUS / ".gitattributes").write_text("* -text\n")
    made = 0
    for name, (maker, expected) in FIXTURES.items():
        folder = CORPUS / name
        if folder.exists():
            continue
        maker(folder)
        code = name.partition("_")[0]
        found = sorted({*expected.pop("also"), *([] if code == "ok" else [code])})
        (folder / "expect.json").write_text(json.dumps({"codes": found, **expected}, indent=1) + "\n")
        made += 1
    print(f"{made} made, {len(FIXTURES) - made} kept")


if __name__ == "__main__":
    main()
