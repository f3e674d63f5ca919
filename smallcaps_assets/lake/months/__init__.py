"""Files of compacted months and their manifest.

Does not belong here: when a month is compacted (``operations.compaction``).
"""
