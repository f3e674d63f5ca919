"""Stored sessions held against their daily bars, and what follows.

Does not belong here: the rule (``core.ticks.disputes``) and asking again (``ingest.ticks``).
"""
