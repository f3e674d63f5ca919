"""Upkeep of a lake of segments: damage found and healed, months packed, snapshots as witnesses.

Does not belong here: what a segment is and how one is committed (``lake.segments``), and the rules
of what may be moved or removed (``core.segments``).
"""
