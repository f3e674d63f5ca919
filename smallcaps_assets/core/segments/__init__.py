"""The rules of a lake that is the union of its records: which entry wins, what follows from that.

Does not belong here: records and parts as files (``lake``), and what makes a session green
(``core.ticks``).
"""
