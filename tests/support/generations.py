"""Conformance databases of the generations after v1.

Belongs here: where they are, and damaged copies of them. Does not belong here: the sample and its copies
(`databases.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from .databases import changing

OWN = Path(__file__).parents[1] / "data" / "conformance"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "conformance"
GENERATIONS = ("v060", "v070", "v071")
SUBJECT = {"v060": "run-15d74237cf04", "v070": "run-77ea8e1e1897", "v071": "run-8ca0893f69f4"}
"""The run of each generation's `s61.db` that has rows in every table."""
EPOCHS = {"v060": 21, "v070": 22, "v071": 29}
KEY, KEY_ID = "conformance-key", "conformance-1"


def database(generation: str) -> Path:
    """A database of a generation with a run that has rows in every table; not to be changed."""
    return OWN / generation / "s61.db"


def shared(file: str) -> Iterator[Any]:
    """Each entry of a JSON file of the conformance data that is not in this repository: the generation, and the entry.

    One parameter that is skipped where the data are absent.
    """
    if not SHARED.is_dir():
        yield pytest.param("", {}, marks=pytest.mark.skip(reason=f"no conformance data at {SHARED}"), id="shared")
        return
    for generation in GENERATIONS:
        path = SHARED / generation / file
        found = json.loads(path.read_text("utf-8")) if path.is_file() else []
        for i, entry in enumerate(found if isinstance(found, list) else _by_run(found)):
            yield pytest.param(generation, entry, id=f"{generation}-{entry['database']}-{i}")


def _by_run(found: dict[str, dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {"database": name, "run_id": run_id, **entry} for name, runs in found.items() for run_id, entry in runs.items()
    ]


def damaged(generation: str, folder: Path, *statements: str) -> Path:
    """A copy of the generation's database after statements, each of which must change something; without
    constraints."""
    path = folder / "damaged.db"
    path.write_bytes(_free(generation))
    with changing(path) as connection:
        for statement in statements:
            assert connection.execute(statement.replace("{run}", SUBJECT[generation])).rowcount > 0, statement
    return path


@cache
def _free(generation: str) -> bytes:
    """A generation's database with tables of columns and nothing else."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "free.db"
        with changing(path) as connection:
            connection.execute("ATTACH ? AS whole", (str(database(generation)),))
            names = connection.execute("SELECT name FROM whole.sqlite_master WHERE type = 'table'").fetchall()
            for (name,) in names:
                if name.startswith("sqlite_"):
                    continue
                # Declared as there, so that each column keeps its affinity.
                columns = connection.execute(f"PRAGMA whole.table_info({name})").fetchall()
                declared = ", ".join(f'"{column["name"]}" {column["type"]}' for column in columns)
                connection.execute(f"CREATE TABLE {name} ({declared})")
                connection.execute(f"INSERT INTO {name} SELECT * FROM whole.{name}")
            connection.execute(f"PRAGMA user_version = {EPOCHS[generation]}")
        return path.read_bytes()
