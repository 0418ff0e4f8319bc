"""report.html: what happened in the run, as one page for people (docs/package.md).

Belongs here: that file, made from the typed columns of the records as they pass. Does not belong here: what is on the
page (`report/`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

from .. import __version__
from ..contract import Contract
from ..records.manifest_v2 import ManifestOptions
from ..records.ordered import FieldsWanted
from ..report import NEEDED, Chunk, Facts, ListedFile, PartStatistics, Statistics, digest, gather, key_figures, render
from ..storage.files import NewFile
from .base import Part, RunEnd, StagedFile

PATH = "report.html"
MEDIA_TYPE = "text/html; charset=utf-8"


class Html:
    """The format. Arguments as for `base.Format`."""

    wanted: ClassVar[FieldsWanted] = FieldsWanted(typed=True, only=NEEDED)

    def __init__(self, contract: Contract, *, is_signed: bool, options: ManifestOptions) -> None:
        self._contract = contract
        self._names = list(contract.record_types)

    def prepare(self, part: Part) -> PartStatistics:
        """The figures of the records."""
        fields = {}
        for one in part.by_type:
            wanted = NEEDED.get(one.table.record_type, ())
            if wanted:
                names = [name for name in one.fields.schema.names if name in wanted]
                fields[one.table.record_type] = {name: one.fields.column(name) for name in names}
        return gather(Chunk(self._names, part.types, fields))

    def open(self, run_id: str, folder: Path) -> _HtmlWriter:
        """Begins the page."""
        return _HtmlWriter(run_id, folder, self._contract.name)


class _HtmlWriter:
    def __init__(self, run_id: str, folder: Path, contract: str) -> None:
        self._run_id, self._contract = run_id, contract
        self._file = NewFile(folder / PATH, for_package=True)
        self._statistics = Statistics()

    def write(self, prepared: PartStatistics) -> None:
        self._statistics.add(prepared)

    def finish(self, end: RunEnd) -> list[StagedFile]:
        """The page names the export's time; but for that it is the same bytes for the same run and options."""
        facts = Facts(
            run_id=self._run_id,
            contract=self._contract,
            final_hash=end.final_hash,
            key_id=end.key.key_id if end.key else None,
            public_key_id=end.public_key_id,
            files=[
                ListedFile(file.path, file.facts.size, file.facts.rows)
                for file in sorted(end.files, key=lambda file: file.path.encode())
                if file.facts.rows is not None
            ],
            exported_at=end.exported_at,
            version=__version__,
            is_listed=True,
        )
        page = render(self._statistics, facts)
        content = hashlib.sha256(page.replace(end.exported_at.encode(), b"")).hexdigest()
        self._file.write(page)
        self._file.close()
        return [
            StagedFile(
                PATH,
                MEDIA_TYPE,
                self._file.facts(None),
                content,
                end.exported_at,
                figures=key_figures(self._statistics),
                digest=digest(self._statistics),
            )
        ]

    def abandon(self) -> None:
        self._file.abandon()
