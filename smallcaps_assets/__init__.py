"""A Dagster lakehouse of US small-cap ticks that proves what it calls complete."""
