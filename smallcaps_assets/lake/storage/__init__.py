"""The seam to the disk: files, locks, seals, processes, errors of the disk.

Does not belong here: what is stored (``lake.sessions``, ``lake.tables``).
"""
