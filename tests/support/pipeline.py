"""The export without Dagster: the functions of `landscape/` and `export/`, one after the other.

Belongs here: what the assets do, for tests of single steps and for those that export often.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from landscape_assets.contract import CONTRACTS, Contract
from landscape_assets.export.arrow_file import ArrowReader, ArrowWriter
from landscape_assets.export.canonical import PlainText
from landscape_assets.export.formats import FORMATS, SignedRecords, StagedFile, write_files
from landscape_assets.export.records import RecordsFacts, write_records
from landscape_assets.export.settings import Budget
from landscape_assets.export.signing import SignedFacts, SigningKey, write_signatures
from landscape_assets.landscape import AuditDatabase


class SmallRanges(Budget):
    """A budget by which a range holds next to nothing, so that every unit becomes a range of its own."""

    range_bytes = 1


def url(database: Path | str) -> str:
    """The URL of a SQLite file; a text is a URL already."""
    return database if isinstance(database, str) else f"sqlite:///{database}"


@contextmanager
def loaded(database: Path | str, run_id: str, folder: Path) -> Iterator[tuple[Contract, Mapping[str, ArrowReader]]]:
    """The run's tables as Arrow files in `folder`, read by the statements of the contract."""
    folder.mkdir(parents=True, exist_ok=True)
    with AuditDatabase(url(database)) as audit:
        readers = {}
        for name in audit.contract.tables:
            stream = audit.read(name, run_id)
            plain = PlainText(stream.schema)
            with ArrowWriter(folder / f"{name}.arrow", stream.schema, {}) as writer:
                for batch in stream.batches:
                    plain.see(batch)
                    writer.write(batch)
                writer.annotate(plain.metadata())
            readers[name] = ArrowReader(folder / f"{name}.arrow")
        yield audit.contract, readers
        for reader in readers.values():
            reader.close()


def make_records(database: Path | str, run_id: str, folder: Path, budget: Budget | None = None) -> RecordsFacts:
    """The run's records in `folder`/records.arrow."""
    with loaded(database, run_id, folder / "tables") as (contract, tables):
        (folder / "scratch").mkdir()
        metadata = {"contract": contract.name, "run_id": run_id}
        path = folder / "records.arrow"
        return write_records(contract, run_id, tables, path, folder / "scratch", budget or Budget(), metadata)


def texts(facts: RecordsFacts) -> list[str]:
    """The canonical form of every record."""
    reader = ArrowReader(facts.file.path)
    try:
        return [text for i in range(reader.batches) for text in reader.batch(i).column("canonical").to_pylist()]
    finally:
        reader.close()


def make_files(
    database: Path | str, run_id: str, folder: Path, key: SigningKey | None, *formats: str
) -> tuple[SignedFacts, dict[str, StagedFile]]:
    """The run's files in `folder`/files, before they become a package; path → file."""
    made = make_records(database, run_id, folder)
    records = ArrowReader(made.file.path)
    signed = write_signatures(records, folder / "signatures.arrow", key, Budget(), {})
    contract = next(contract for contract in CONTRACTS if contract.name == records.metadata["contract"])
    signatures = ArrowReader(signed.file.path)
    everything = SignedRecords(contract, run_id, False, records, signatures, key)
    (folder / "files").mkdir()
    by_format = write_files(everything, folder / "files", Budget(), formats or FORMATS)
    staged = [file for files in by_format.values() for file in files]
    records.close()
    signatures.close()
    return signed, {file.path: file for file in staged}


def jsonl(path: Path) -> list[dict]:
    """The records of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
