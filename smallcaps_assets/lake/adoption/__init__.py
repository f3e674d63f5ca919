"""A lake of receipts taken over into a lake of segments, without asking the vendor.

What belongs here: all that still reads such a lake.  What does not: archives of other programs
(``ingest.archive``), and segments by themselves (``lake.segments``).
"""
