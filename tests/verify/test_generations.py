"""The generations v060, v070 and v071: ELSPETH's own exports are accepted, and every change of a part is refused.

Belongs here: what differs from v0 and v1: records, rules, signing forms, the manifest record of v071, format version 2.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import rfc8785

from landscape_assets.verify import records_file, verify_package

from . import build, generations
from .build import DATA, KEY, Record
from .generations import EXPORTS, SMALL_EXPORTS, build_package, config, data_records
from .test_records import CONFORMANCE

GENERATIONS = ("v060", "v070", "v071")
needs_conformance = pytest.mark.skipif(
    not CONFORMANCE.exists(), reason="the conformance exports are not beside the repository"
)


@pytest.mark.parametrize("contract", GENERATIONS)
@pytest.mark.parametrize("exports", [EXPORTS, SMALL_EXPORTS], ids=["large", "small"])
def test_an_export_of_the_original(tmp_path: Path, contract: str, exports: dict[str, str]):
    """Records that ELSPETH of this generation exported and signed; of v071 its manifest record too."""
    lines = generations.load(DATA / exports[contract])
    made: list[bytes] = []

    def keep(written: list[bytes]) -> list[bytes]:
        made.extend(written)
        return written

    folder = build_package(tmp_path, lines[:-1], contract, edit_lines=keep)
    report = verify_package(folder, key=KEY)
    assert (report.status, report.findings, report.record_count) == (0, [], len(lines) - 1)
    if contract == "v071":
        assert made == [rfc8785.dumps(line) for line in lines]


@needs_conformance
@pytest.mark.parametrize("contract", GENERATIONS)
def test_all_exports_of_the_original(tmp_path: Path, contract: str):
    paths = sorted(CONFORMANCE.glob(f"{contract}/*.signed.jsonl"))
    assert len(paths) >= 13
    for path in paths:
        lines = generations.load(path)
        expected = json.loads((path.parent / "expected.json").read_text())[path.name.split(".")[0]][lines[0]["run_id"]]
        assert generations.sign(lines[0], contract, KEY) == lines[0]

        def keep(written: list[bytes], lines: list[Record] = lines) -> list[bytes]:
            return [*written[:-1], rfc8785.dumps(lines[-1])] if contract == "v071" else written

        folder = build_package(tmp_path / path.name, lines[:-1], contract, edit_lines=keep)
        report = verify_package(folder, key=KEY)
        assert (report.status, report.findings, report.record_count) == (0, [], expected["record_count"]), path.name
        manifest = json.loads((folder / "manifest.json").read_bytes())
        assert manifest["final_hash"] == expected["final_hash"]


@needs_conformance
def test_manifest_records_of_other_configurations(tmp_path: Path):
    """Chunk limits, csv, unsigned, other names: the manifest record that ELSPETH made of each, with its records."""
    variants = json.loads((CONFORMANCE / "v071" / "variants.json").read_text())
    done = 0
    for number, variant in enumerate(variants):
        options = variant["options"]
        if options.get("include_raw_error_rows"):
            continue  # the records of these are not here
        (path,) = CONFORMANCE.glob(f"v071/{variant['database']}.{variant['run_id']}*.signed.jsonl")
        key = KEY if options["sign"] else None
        names = {name: options[name] for name in options if name in generations.CONFIG or name == "signer_key_id"}
        settings = config(key, **names)

        def edit(manifest: dict, settings: dict = settings) -> None:
            manifest["export_config"] = settings
            manifest["raw_error_rows"] = False

        def originals(written: list[bytes], wanted: dict = variant["manifest"]) -> list[bytes]:
            assert json.loads(written[-1]) == wanted
            return [*written[:-1], rfc8785.dumps(wanted)]

        folder = build_package(
            tmp_path / str(number),
            generations.load(path)[:-1],
            "v071",
            key,
            settings=settings,
            edit_manifest=edit,
            edit_lines=originals,
        )
        report = verify_package(folder, key=key)
        assert (report.status, report.findings) == (0 if key else 10, []), options
        done += 1
    assert done == 7


@pytest.mark.parametrize("contract", GENERATIONS)
def test_unsigned(tmp_path: Path, contract: str):
    folder = build_package(tmp_path, data_records(contract), contract, None)
    report = verify_package(folder)
    assert (report.status, report.findings) == (10, [])


@pytest.mark.parametrize("contract", GENERATIONS)
@pytest.mark.parametrize("processes", [1, 2])
def test_the_findings_do_not_depend_on_how_the_file_is_divided(
    tmp_path: Path, contract: str, processes: int, monkeypatch: pytest.MonkeyPatch
):
    records = data_records(contract)
    sound = build_package(tmp_path / "sound", records, contract)
    faulty = [dict(record) for record in records]
    for index in (30, 60, 100, 150):
        faulty[index]["note"] = "?"
    faulty.insert(120, faulty[120])
    del faulty[70]
    broken = build_package(tmp_path / "broken", faulty, contract, formats=("jsonl",))
    whole = verify_package(broken, key=KEY)
    assert whole.status == 40
    for size in (700, 5000, 30_000) if processes == 1 else (20_000,):
        monkeypatch.setattr(records_file, "CHUNK_SIZE", size)
        assert verify_package(sound, key=KEY, processes=processes).findings == []
        assert verify_package(broken, key=KEY, processes=processes) == whole


# The manifest record of v071


def different(name: str, value: object) -> object:
    """Another value of the same form."""
    others = {
        "export_format": "csv",
        "record_chain_algorithm": "sha256_concat_record_sha256_v1",
        "signature_algorithm": "unsigned",
        "signature_key_id": "conformance-2",
        "source_status": "empty",
    }
    if name in others:
        return others[name] if value != others[name] else "completed"
    if isinstance(value, int):
        return value + 1
    return "".join({"0": "1", "1": "2", "a": "b", "9": "8"}.get(character, character) for character in str(value))


CORE = [name for name in generations.load(DATA / SMALL_EXPORTS["v071"])[-1] if name != "signature"]
OWN_CODES = {
    "record_count": {"E345"},
    "final_hash": {"E345"},
    "record_type": {"E311", "E342", "E343", "E348"},
    "run_id": {"E318"},
    "derivation_version": {"E316", "E347"},
    "hash_algorithm": {"E316", "E347"},
    "schema": {"E316", "E347"},
}
"""The codes of a wrong field of the manifest record, where they are others than E347."""


@pytest.mark.parametrize("name", CORE)
@pytest.mark.parametrize("key", [KEY, None], ids=["signed", "unsigned"])
def test_each_part_of_the_manifest_record(tmp_path: Path, codes, name: str, key: bytes | None):
    """A change of any one is refused, although the record is validly signed."""

    def edit(core: Record) -> None:
        of_signed = {"record_chain_algorithm": SIGNED_CHAIN, "signature_algorithm": "hmac_sha256"}
        core[name] = of_signed[name] if name in of_signed and not key else different(name, core[name])

    folder = build_package(tmp_path, data_records("v071", small=True), "v071", key, edit_last=edit)
    assert codes(folder, key=key) == OWN_CODES.get(name, {"E347"})


SIGNED_CHAIN = "sha256_concat_hmac_sha256_signatures_v1"


@pytest.mark.parametrize("name", [*CORE, "signature"])
@pytest.mark.parametrize("how", ["lacks", "null", "number"])
def test_a_manifest_record_of_another_form(tmp_path: Path, codes, name: str, how: str):
    """Whatever a part is replaced by, and wherever one lacks, the package is refused."""

    def edit(lines: list[bytes]) -> list[bytes]:
        last = json.loads(lines[-1])
        del last[name]
        last |= {} if how == "lacks" else {name: None if how == "null" else 7}
        return [*lines[:-1], rfc8785.dumps(last)]

    assert codes(build_package(tmp_path, data_records("v071", small=True), "v071", edit_lines=edit))


def with_last(edit: Callable[[bytes], list[bytes]]) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [*lines[:-1], *edit(lines[-1])]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda last: [], {"E343"}),
        (lambda last: [last, last], {"E344", "E347"}),
    ],
    ids=["lacks", "twice"],
)
@pytest.mark.parametrize("key", [KEY, None], ids=["signed", "unsigned"])
def test_the_place_of_the_manifest_record(tmp_path: Path, codes, edit, expected: set[str], key: bytes | None):
    folder = build_package(tmp_path, data_records("v071", small=True), "v071", key, edit_lines=with_last(edit))
    assert codes(folder, key=key) == expected


def test_an_unsigned_manifest_record_has_no_signature(tmp_path: Path, codes):
    def edit(lines: list[bytes]) -> list[bytes]:
        return [*lines[:-1], lines[-1].replace(b'"signature":null', b'"signature":"' + b"0" * 64 + b'"')]

    folder = build_package(tmp_path, data_records("v071", small=True), "v071", None, edit_lines=edit)
    assert codes(folder, key=None) == {"E322"}


@pytest.mark.parametrize("what", ["bare", "as records", "other key"])
def test_the_signature_of_the_manifest_record(tmp_path: Path, codes, what: str):
    def edit(lines: list[bytes]) -> list[bytes]:
        core = {name: value for name, value in json.loads(lines[-1]).items() if name != "signature"}
        if what == "other key":
            return [*lines[:-1], rfc8785.dumps(generations.sign_manifest_record(core, build.OTHER_KEY))]
        payload = core if what == "bare" else {"payload": core, "schema": "audit-export-manifest-v1"}
        return [*lines[:-1], rfc8785.dumps({**core, "signature": build.sign(payload, KEY)["signature"]})]

    assert codes(build_package(tmp_path, data_records("v071", small=True), "v071", edit_lines=edit)) == {"E322"}


@pytest.mark.parametrize(
    "name", ["per_chunk_record_limit", "per_chunk_byte_limit", "exporter_version", "signer_key_id"]
)
@pytest.mark.parametrize("names_it", [True, False])
def test_a_configuration_that_is_not_the_default_one(tmp_path: Path, codes, name: str, names_it: bool):
    """It must be in manifest.json, but for the key id, which the manifest record has."""
    value = {"per_chunk_record_limit": 5, "per_chunk_byte_limit": 9000}.get(name, "other-1")
    settings = config(KEY, **{name: value})

    def edit(manifest: dict) -> None:
        if names_it:
            manifest["export_config"] = settings

    records = data_records("v071", small=True)
    folder = build_package(tmp_path, records, "v071", settings=settings, edit_manifest=edit)
    if names_it or name == "signer_key_id":
        assert verify_package(folder, key=KEY).findings == []
    else:
        assert codes(folder) == {"E347"}


def test_a_record_longer_than_a_chunk(tmp_path: Path, codes):
    def edit(manifest: dict) -> None:
        manifest["export_config"] = config(KEY, per_chunk_byte_limit=1000)

    assert codes(build_package(tmp_path, data_records("v071", small=True), "v071", edit_manifest=edit)) == {"E347"}


@pytest.mark.parametrize("is_raw", [True, False])
def test_raw_error_rows_are_found_out_where_manifest_json_does_not_tell(tmp_path: Path, is_raw: bool):
    settings = config(KEY, include_raw_error_rows=is_raw)
    folder = build_package(tmp_path, data_records("v071", small=True), "v071", settings=settings)
    assert verify_package(folder, key=KEY).findings == []


# Signing forms and numbers


def with_config(contract: str, value: object) -> list[Record]:
    """The records of a generation, with a value in a node's configuration."""
    records = data_records(contract, small=True)
    node = next(record for record in records if record["record_type"] == "node")
    node["config"] = value
    return records


TAGGED = {"a": [{generations.TAG: "x", "é": {"b": 1, generations.TAG: 2}, "z": [1.5], '"': None}]}


@pytest.mark.parametrize("contract", GENERATIONS)
def test_the_signing_form_of_tagged_objects(tmp_path: Path, codes, contract: str):
    """v070 alone signs an object with the tag key in another form; the record itself stays as it is."""
    records = with_config(contract, TAGGED)
    assert verify_package(build_package(tmp_path / "right", records, contract), key=KEY).findings == []
    other = "v060" if contract == "v070" else "v070"
    wrong = [generations.sign(record, other, KEY) for record in records]
    assert codes(build_package(tmp_path / "wrong", wrong, contract)) == {"E322"}


def test_the_signing_form_is_that_of_the_contract():
    value = {generations.TAG: "m", "b": {"x": 1}, "a": [{generations.TAG: 0}]}
    assert rfc8785.dumps(generations.signing_form(value)).decode() == (
        '{"__elspeth_canonical_type__":"mapping","entries":[{"key":"__elspeth_canonical_type__","value":"m"},'
        '{"key":"a","value":[{"__elspeth_canonical_type__":"mapping","entries":'
        '[{"key":"__elspeth_canonical_type__","value":0}]}]},{"key":"b","value":{"x":1}}]}'
    )


@pytest.mark.parametrize("number", [1e16, -1e20, 9007199254740992.0])
def test_numbers_that_v071_refuses(tmp_path: Path, codes, number: float):
    for contract in ("v060", "v070"):
        folder = build_package(tmp_path / contract, with_config(contract, {"n": [number]}), contract)
        assert verify_package(folder, key=KEY).findings == []
    assert codes(build_package(tmp_path, with_config("v071", {"n": [number]}), "v071")) == {"E316"}


@pytest.mark.parametrize("number", [1e21, 1e300, 9007199254740991, 0.5])
def test_numbers_that_v071_takes(tmp_path: Path, number: float):
    folder = build_package(tmp_path, with_config("v071", {"n": number}), "v071")
    assert verify_package(folder, key=KEY).findings == []


def test_a_large_duration_that_v071_refuses(tmp_path: Path, codes):
    records = data_records("v071")
    next(one for one in records if one["record_type"] == "call" and one["latency_ms"])["latency_ms"] = 1e17
    assert codes(build_package(tmp_path, records, "v071", formats=("jsonl",))) == {"E316"}


# Rules


def first(contract: str, record_type: str, edit: dict[str, object], **having: object) -> list[Record]:
    """The records of a generation, with the first of a type that has some values changed."""
    records = data_records(contract)
    for record in records:
        if record["record_type"] == record_type and all(record[name] == value for name, value in having.items()):
            record.update(edit)
            return records
    raise LookupError(record_type)


HEX = "0" * 64
BROKEN: list[tuple[str, str, str, dict[str, object], dict[str, object]]] = [
    # contracts, code, type, what is changed, of which record
    ("v060 v070 v071", "E316", "run", {"config_hash": "abc"}, {}),
    ("v060 v070", "E316", "run", {"auth_provider_type": "other", "initiated_by_user_id": "u"}, {}),
    ("v060 v070 v071", "E316", "run", {"initiated_by_user_id": ""}, {}),
    ("v060 v070 v071", "E316", "node", {"source_file_hash": "sha256:ABC"}, {}),
    ("v060 v070 v071", "E315", "node", {"registered_at": None}, {}),
    ("v060 v070 v071", "E314", "row", {"ingest_sequence": "1"}, {}),
    ("v060 v070 v071", "E316", "row", {"source_row_index": -1}, {}),
    ("v060 v070 v071", "E316", "token_outcome", {"path": "routed"}, {}),
    ("v060 v070 v071", "E317", "token_outcome", {"fork_group_id": "g"}, {"path": "default_flow"}),
    ("v060 v070 v071", "E317", "token_outcome", {"outcome": "failure"}, {"path": "default_flow"}),
    ("v060 v070 v071", "E317", "token_outcome", {"sink_name": None}, {"path": "default_flow"}),
    ("v060 v070 v071", "E317", "token_outcome", {"completed": False}, {"path": "default_flow"}),
    (
        "v060 v070 v071",
        "E317",
        "token_outcome",
        {"path": "sink_discarded", "outcome": "failure", "error_hash": HEX, "sink_name": "other"},
        {"path": "default_flow"},
    ),
    ("v060 v070 v071", "E317", "node_state", {"error_json": None}, {"status": "failed"}),
    ("v060 v070 v071", "E317", "call", {"resolved_prompt_template_hash": HEX}, {"call_type": "sql"}),
    ("v060 v070 v071", "E316", "call", {"resolved_prompt_template_hash": "x"}, {"call_type": "llm"}),
    ("v060 v070 v071", "E316", "operation", {"duration_ms": -1}, {"status": "completed"}),
    ("v060 v070 v071", "E316", "scheduler_event", {"event_type": "start"}, {}),
    ("v060 v070 v071", "E316", "scheduler_event", {"to_status": "open"}, {}),
    ("v060 v070 v071", "E316", "scheduler_event", {"to_attempt": -1}, {}),
    ("v060 v070 v071", "E317", "batch", {"completed_at": None}, {"status": "completed"}),
    ("v060 v070 v071", "E316", "batch", {"trigger_type": "manual"}, {}),
    ("v060 v070 v071", "E316", "artifact", {"content_hash": "x"}, {}),
    ("v060 v070 v071", "E335", "validation_error", {"node_id": "nowhere"}, {}),
    ("v060 v070 v071", "E335", "transform_error", {"token_id": "nothing"}, {}),
    ("v060 v070 v071", "E335", "scheduler_event", {"node_id": "nowhere"}, {}),
    ("v060", "E313", "artifact", {"sink_effect_id": None}, {}),
    ("v071", "E317", "artifact", {"publication_performed": False}, {"producer_kind": "node_state"}),
    ("v071", "E317", "artifact", {"producer_kind": "sink_effect"}, {"producer_kind": "node_state"}),
    ("v071", "E317", "artifact", {"sink_effect_id": HEX}, {"producer_kind": "node_state"}),
    ("v071", "E317", "operation", {"sink_effect_id": HEX}, {"operation_type": "source_load"}),
    ("v071", "E317", "sink_effect_stream", {"head_effect_id": None, "head_descriptor_hash": HEX}, {}),
    ("v071", "E316", "sink_effect", {"effect_id": "x"}, {}),
    ("v071", "E317", "sink_effect", {"plan_hash": HEX}, {"state": "reserved"}),
    ("v071", "E317", "sink_effect", {"lease_owner": "w"}, {"state": "finalized"}),
    ("v071", "E317", "sink_effect", {"finalized_at": None}, {"state": "finalized"}),
    ("v071", "E317", "sink_effect", {"generation": 0}, {"state": "in_flight"}),
    ("v071", "E317", "sink_effect", {"lease_heartbeat_at": "9999-01-01T00:00:00"}, {"state": "in_flight"}),
    ("v071", "E317", "sink_effect", {"publication_performed": None}, {"state": "finalized"}),
    ("v071", "E317", "sink_effect_member", {"primary_effect_id": HEX}, {"role": "primary"}),
    ("v071", "E335", "sink_effect_member", {"row_id": "nothing"}, {}),
    ("v071", "E317", "sink_effect_attempt", {"completed_at": None}, {"state": "returned"}),
    ("v071", "E333", "sink_effect_attempt", {"attempt_index": 5}, {}),
    ("v071", "E316", "sink_effect_attempt", {"latency_ms": -1}, {"state": "returned"}),
]


@pytest.mark.parametrize(
    ("contract", "code", "record_type", "edit", "having"),
    [(contract, *rest) for contracts, *rest in BROKEN for contract in contracts.split()],
)
def test_a_record_that_breaks_a_rule(
    tmp_path: Path, codes, contract: str, code: str, record_type: str, edit: dict, having: dict
):
    """Validly signed, and refused by the code of the rule."""
    records = first(contract, record_type, edit, **having)
    assert code in codes(build_package(tmp_path, records, contract, formats=("jsonl",)))


POLICY: list[tuple[str, dict[str, object]]] = [
    ("E316", {"schema_version": 0}),
    ("E316", {"policy_hash": "x"}),
    ("E316", {"authorized_plugin_ids": ["source:b", "source:a"]}),
    ("E316", {"authorized_plugin_ids": ["source:a", "source:a"]}),
    ("E316", {"authorized_plugin_ids": ["gate:a"]}),
    ("E314", {"authorized_plugin_ids": "source:a"}),
    ("E317", {"authorized_plugin_ids": []}),
    ("E317", {"available_plugin_ids": ["sink:nothing"]}),
    ("E316", {"control_modes": [["llm", "always"]]}),
    ("E316", {"control_modes": [["llm"]]}),
    ("E317", {"selected_implementations": [["llm", "source:nothing"]]}),
    ("E316", {"selected_implementations": [[None, "source:a"]]}),
    ("E316", {"plugin_code_identities": [["source:a", "1.0", "sha256:0123456789abcdef"]]}),
    ("E317", {"decision_codes": []}),
    ("E316", {"decision_codes": ["a" * 65]}),
]


@pytest.mark.parametrize(("code", "edit"), POLICY)
def test_a_web_plugin_policy_that_breaks_a_rule(tmp_path: Path, codes, code: str, edit: dict):
    records = data_records("v071", small=True)
    next(one for one in records if one["record_type"] == "web_plugin_policy").update(edit)
    assert code in codes(build_package(tmp_path, records, "v071"))


def test_a_second_web_plugin_policy(tmp_path: Path, codes):
    records = data_records("v071", small=True)
    records.insert(2, records[1])
    assert codes(build_package(tmp_path, records, "v071")) == {"E334"}


ORDERED = [
    *("node", "edge", "operation", "validation_error", "transform_error", "row", "token", "token_outcome"),
    *("scheduler_event", "artifact"),
]
ORDERED_IN_V071 = [*ORDERED, "sink_effect_stream", "sink_effect", "sink_effect_member", "sink_effect_attempt"]


@pytest.mark.parametrize(
    ("contract", "record_type"),
    [("v060", name) for name in ORDERED] + [("v071", name) for name in ORDERED_IN_V071],
)
def test_records_out_of_order(tmp_path: Path, codes, contract: str, record_type: str):
    """Two of a type under one parent, with all that belongs to them, change places."""
    records = data_records(contract)

    def stretch(start: int) -> int:
        """Where what belongs to a record ends."""
        end = start + 1
        followers = {
            "row": ("token", "token_parent", "token_outcome", "scheduler_event", "node_state", "routing_event", "call"),
            "token": ("token_parent", "token_outcome", "scheduler_event", "node_state", "routing_event", "call"),
            "operation": ("call",),
        }.get(record_type, ())
        while end < len(records) and records[end]["record_type"] in followers:
            end += 1
        return end

    starts = [index for index, record in enumerate(records) if record["record_type"] == record_type]
    pair = next(
        ((one, two) for one, two in itertools.pairwise(starts) if stretch(one) == two),
        None,
    )
    if pair is None:
        records = one_more(records, starts[0])
        pair = starts[0], starts[0] + 1
    one, two = pair
    end = stretch(two)
    moved = [*records[:one], *records[two:end], *records[one:two], *records[end:]]
    assert "E333" in codes(build_package(tmp_path, moved, contract, formats=("jsonl",)))


def one_more(records: list[Record], at: int) -> list[Record]:
    """The records with a second one like one of them, that follows it by its id alone."""
    name = {"validation_error": "error_id", "transform_error": "error_id"}[str(records[at]["record_type"])]
    return [*records[: at + 1], {**records[at], name: str(records[at][name]) + "x"}, *records[at + 1 :]]


def test_effects_without_a_stream_come_first_on_sqlite_and_last_on_postgresql(tmp_path: Path, codes):
    records = data_records("v071")
    effects = [one for one in records if one["record_type"] == "sink_effect"]
    without = [one for one in effects if one["stream_id"] is None]
    assert without
    assert effects[: len(without)] == without
    start = records.index(effects[0])
    moved = [one for one in effects if one["stream_id"] is not None] + without
    other = [*records[:start], *moved, *records[start + len(effects) :]]
    assert codes(build_package(tmp_path / "sqlite", other, "v071", formats=("jsonl",))) == {"E333"}

    def zoned(record: Record) -> Record:
        ends = ("_at",)
        return {
            name: value + "+00:00" if isinstance(value, str) and name.endswith(ends) else value
            for name, value in record.items()
        }

    folder = build_package(tmp_path / "postgresql", [zoned(one) for one in other], "v071", formats=("jsonl",))
    assert verify_package(folder, key=KEY).findings == []
    back = build_package(tmp_path / "back", [zoned(one) for one in records], "v071", formats=("jsonl",))
    assert codes(back) == {"E333"}


# manifest.json


def edited(**values: object) -> Callable[[dict], None]:
    return lambda manifest: manifest.update(values)


@pytest.mark.parametrize(
    ("contract", "edit", "code"),
    [
        ("v060", {"format_version": 1}, "E109"),
        ("v071", {"format_version": 3}, "E109"),
        ("v060", {"merkle": None}, "E108"),
        ("v060", {"status": "running"}, "E108"),
        ("v060", {"completed_at": None}, "E108"),
        ("v060", {"raw_error_rows": False}, "E110"),
        ("v060", {"export_config": {}}, "E106"),
        ("v070", {"raw_error_rows": 0}, "E108"),
        ("v070", {"elspeth_snapshots": []}, "E106"),
        ("v071", {"elspeth_snapshots": []}, "E108"),
        ("v071", {"export_config": {**config(KEY), "more": 1}}, "E108"),
        ("v071", {"export_config": config(KEY, per_chunk_record_limit=0)}, "E108"),
        ("v071", {"export_config": config(KEY, per_chunk_byte_limit=67108865)}, "E108"),
        ("v071", {"export_config": config(None)}, "E110"),
        ("v071", {"export_config": config(KEY), "raw_error_rows": True}, "E110"),
        ("v071", {"export_config": config(KEY, include_raw_error_rows=True)}, "E347"),
    ],
)
def test_what_manifest_json_says_wrongly(tmp_path: Path, codes, contract: str, edit: dict, code: str):
    records = data_records(contract, small=True)
    folder = build_package(tmp_path, records, contract, edit_manifest=edited(**edit))
    assert code in codes(folder)


@pytest.mark.parametrize("contract", ["v070", "v071"])
def test_rows_of_errors_where_the_manifest_says_that_they_are_left_out(tmp_path: Path, codes, contract: str):
    edit = edited(raw_error_rows=False)
    records = data_records(contract)
    assert verify_package(build_package(tmp_path / "a", records, contract, edit_manifest=edit), key=KEY).findings == []
    raw = first(contract, "transform_error", {"row_data_json": "{}"})
    assert codes(build_package(tmp_path / "b", raw, contract, edit_manifest=edit)) == {"E317"}


def test_comparisons_are_reported_as_not_checked(tmp_path: Path):
    comparison = {"snapshot_id": HEX, "result": "not compared", "reason": "another key"}
    edit = edited(elspeth_snapshots=[comparison])
    report = verify_package(build_package(tmp_path, data_records("v071"), "v071", edit_manifest=edit), key=KEY)
    assert report.status == 0
    assert "comparisons with ELSPETH's own exports" in [one.name for one in report.checks if one.outcome == "not done"]


@pytest.mark.parametrize("contract", ["v060", "v070"])
@pytest.mark.parametrize("completed_at", [None, "2026-05-05T00:00:00"])
def test_an_interrupted_run(tmp_path: Path, contract: str, completed_at: str | None):
    records = data_records(contract, small=True)
    records[0].update(status="interrupted", completed_at=completed_at)
    assert verify_package(build_package(tmp_path, records, contract), key=KEY).findings == []


def test_an_interrupted_run_of_v1_is_of_format_version_2(tmp_path: Path, codes):
    records = build.load("s12.run-856b8d629fd9.signed.jsonl")
    records[0]["status"] = "interrupted"
    assert codes(build.build(tmp_path / "one", records)) == {"E107", "E109"}
    two = build.build(tmp_path / "two", records, version=2)
    assert verify_package(two, key=KEY).findings == []
