"""From table frames to a published package: ordered canonical records, signatures, files, manifest.

Belongs here: everything that makes the package, with Polars and Arrow. No Dagster, no database.
"""
