"""The data logic: pure functions from frames to frames; no clock, disk, network or Dagster."""
