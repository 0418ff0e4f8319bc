"""Attacks on exports and packages with random inputs, for as long as one likes: `python -m tests.adversary`.

Belongs here: what is tried again and again with new seeds, through the command line and the verifier alone. Does not
belong here: cases with an outcome that is known beforehand, which have tests of their own in the other folders.
"""

import sys
from pathlib import Path

# Where `support` and `verify` are; pytest has it from pyproject.toml.
if (_tests := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.append(_tests)
