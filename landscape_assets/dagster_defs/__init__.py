"""Everything that is Dagster: partitions, resources, storage between assets, assets, checks, jobs, schedules, sensors.

Belongs here: how the rooms below are run, shown and scheduled. Does not belong here: what an export is (`database/`,
`records/`, `formats/`, `package/`).
"""
