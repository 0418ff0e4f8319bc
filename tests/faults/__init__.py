"""Publication survives anything: every system call of a small export made to fail, and every state that a crash may
leave.

`python -m tests.faults` does all of it and prints what it covered; `test_faults.py` does a fixed, spread-out part.

Belongs here: `shim.c` and `shim.py` (calls traced and made to fail), `process.py` (the exports under test),
`points.py` (one fault at each call), `crashes.py` (the states of a file system after a crash). Does not belong
here: damage to finished packages (`tests/verify/`).
"""
