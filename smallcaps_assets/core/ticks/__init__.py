"""Trades as frames: tape, phases, conditions, content hash, quality, and what bars say of them.

Does not belong here: files of them (``lake.sessions``).
"""
