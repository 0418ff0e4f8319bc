"""Reproducible measurements of the exporter, and the references that it is measured against.

Belongs here: what makes databases to measure on, the naive and the batched reference exporters, the floor, and the
command that runs them all (`python -m benchmarks`). Does not belong here: anything that the product needs at run time.
"""
