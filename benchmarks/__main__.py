"""`python -m benchmarks`: see `run.py`. Nothing else belongs here."""

from .run import main

main()
