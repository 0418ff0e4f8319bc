"""Evidence beyond a package: single records that prove themselves, and a log of all publications.

Belongs here: disclosures (`disclose.py`), the export log (`export_log.py`) with its files (`tiles.py`), signed notes
(`note.py`) and proofs (`log_proofs.py`), time stamps (`timestamp.py`). Does not belong here: packages (`package/`),
trees (`merkle.py`), and the verifier of all this, which shares nothing with it (`verify/`).
"""

from .disclose import Choice, Disclosure, disclose_to, parse_record
from .export_log import CHECKPOINT, Appended, LogError, LogSettings, append_or_say, log_folder, sync
from .log_proofs import cosign, prove
from .note import check_origin
from .timestamp import request_token, stamp_or_say

__all__ = [
    "CHECKPOINT",
    "Appended",
    "Choice",
    "Disclosure",
    "LogError",
    "LogSettings",
    "append_or_say",
    "check_origin",
    "cosign",
    "disclose_to",
    "log_folder",
    "parse_record",
    "prove",
    "request_token",
    "stamp_or_say",
    "sync",
]
