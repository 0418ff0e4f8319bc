"""What others keep of the export log, or add to it: proofs of entries, and cosignatures.

Belongs here: these two. Does not belong here: appending (`export_log.py`), and their check (`verify/`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from ..merkle import Tree, hashes_of
from ..package import MANIFEST, read_manifest
from . import tiles
from .export_log import CHECKPOINT, LogError, locked, log_folder, read_log
from .note import Checkpoint, NoteError, check_signature_line


def prove(package: Path) -> bytes:
    """The proof that a package was logged, as a .tlog-proof file; its extra line is the entry.

    Args:
        package: in an export folder with a log, or among its superseded ones.

    Raises:
        LogError: the log is damaged, or has no entry of this package.
        PackageError: it is not a package.
    """
    package = package.absolute()
    read_manifest(package)
    sha256 = hashlib.sha256((package / MANIFEST).read_bytes()).hexdigest()
    above = package.parent
    export_dir = above.parent.parent if above.parent.name == ".superseded" else above
    log = log_folder(export_dir)
    checkpoint, entries = read_log(log, None, None)
    if checkpoint is None:
        raise LogError(f"{export_dir} has no log.")
    indices = {json.loads(entry)["manifest_sha256"]: at for at, entry in enumerate(entries)}
    if sha256 not in indices:
        raise LogError(f"The log of {export_dir} has no entry of {package}. `landscape-assets log sync` appends it.")
    index = indices[sha256]
    path = Tree(hashes_of(entries)).inclusion_proof(index)
    lines = ["c2sp.org/tlog-proof@v1", f"extra {base64.b64encode(entries[index]).decode()}", f"index {index}"]
    lines += [base64.b64encode(one).decode() for one in path]
    return ("\n".join(lines) + "\n\n" + checkpoint.note()).encode()


def cosign(export_dir: Path, note: bytes) -> int:
    """Adds cosignatures that were made elsewhere to the present checkpoint.

    Whether they are right is for the verifier, who has the keys of the witnesses.

    Args:
        export_dir: the export folder.
        note: the checkpoint with cosignatures, or the lines of these alone.

    Returns:
        How many are new.

    Raises:
        LogError: they are of another checkpoint, or there are none.
    """
    log = log_folder(export_dir)
    try:
        text, separator, lines = note.decode().rpartition("\n\n")
        given = [line for line in lines.split("\n") if line]
        for line in given:
            check_signature_line(line)
    except (UnicodeDecodeError, NoteError) as error:
        raise LogError(f"The file holds no cosignatures: {error}") from None
    with locked(log):
        checkpoint, _ = read_log(log, None, None)
        if checkpoint is None:
            raise LogError(f"{export_dir} has no log.")
        if separator and text + "\n" != checkpoint.text:
            raise LogError(
                f"The cosignatures are of another checkpoint than the present one of {checkpoint.size} entries. Ask "
                f"the witness to cosign this one."
            )
        new = [line for line in dict.fromkeys(given) if line not in checkpoint.signatures]
        if new:
            both = Checkpoint(checkpoint.origin, checkpoint.size, checkpoint.root, (*checkpoint.signatures, *new))
            changed: set[Path] = set()
            tiles.write_durably(log / CHECKPOINT, both.note().encode(), changed)
            tiles.sync_changed(changed)
    return len(new)
