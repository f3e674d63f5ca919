"""Ticker-sessions in segments: parts with their rows, and records that say what they are.

A lake of segments is the union of its records.  Readers read it, and no command writes it yet.
Does not belong here: which entry wins (``core.segments``), and where objects lie
(``lake.storage``).
"""
