"""Ticker-sessions in segments: parts with their rows, and records that say what they are.

A lake is the union of its records.
Does not belong here: which entry wins (``core.segments``), and where objects lie
(``lake.storage``).
"""
