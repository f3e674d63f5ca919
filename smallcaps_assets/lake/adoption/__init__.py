"""A lake of receipts taken over into a lake of segments, without asking the vendor.

No command uses it yet.  Does not belong here: archives of other programs (``ingest.archive``), and
either format by itself (``lake.sessions``, ``lake.segments``).
"""
