"""Evidence beyond a package: single records that prove themselves, and a log of all publications.

Belongs here: disclosures (`disclose.py`), the export log (`export_log.py`) with its files (`tiles.py`) and signed notes
(`note.py`), time stamps (`timestamp.py`). Does not belong here: packages (`package/`), trees (`merkle.py`), and the
verifier of all this, which shares nothing with it (`verify/`).
"""
