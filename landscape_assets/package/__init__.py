"""The package: its manifest, its publication, reading it back.

Belongs here: everything that makes a folder a package. Does not belong here: the output formats (`formats/`), and the
verifier, which shares no code with it (`verify/`).
"""

from .manifest import Export
from .publish import MANIFEST_SIGNATURE, Published, publish
from .read import MANIFEST, REPORT, figures_of, is_complete, package_path, read_manifest, run_id_in

__all__ = [
    "MANIFEST",
    "MANIFEST_SIGNATURE",
    "REPORT",
    "Export",
    "Published",
    "figures_of",
    "is_complete",
    "package_path",
    "publish",
    "read_manifest",
    "run_id_in",
]
