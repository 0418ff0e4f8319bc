"""`python -m benchmarks`: see `cli.py`. Nothing else belongs here."""

from .cli import main

main()
