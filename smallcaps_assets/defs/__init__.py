"""The Dagster face: assets, checks, partitions, jobs; thin."""
