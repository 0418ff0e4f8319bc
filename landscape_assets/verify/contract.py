"""The record contracts that this verifier knows, by name.

Belongs here: the list. Does not belong here: what they say (`contract_v1.py`: v0 and v1; `contract_v060.py`,
with v070; `contract_v071.py`), and the terms in which they say it (`contract_model.py`).
"""

from __future__ import annotations

from .contract_model import Contract
from .contract_v060 import V060, V070
from .contract_v071 import V071
from .contract_v1 import V0, V1

CONTRACTS: dict[str, Contract] = {contract.name: contract for contract in (V0, V1, V060, V070, V071)}
