"""Use cases: the only place that puts vendor, core and lake together."""
