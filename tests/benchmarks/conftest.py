"""Where these tests find the package `benchmarks`: in the repository's root, which is not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
