"""Entry point of `python -m landscape_assets.verify` and of `python landscape_assets/verify`.

Belongs here: finding the package that this file is part of, and nothing else. Run as a folder, the folder alone is
enough: it is then imported as a package under its own name.
"""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    if not __package__:
        here = Path(__file__).resolve().parent
        sys.path[0] = str(here.parent)
        __package__ = here.name
    sys.exit(importlib.import_module(__package__).main(sys.argv[1:]))
