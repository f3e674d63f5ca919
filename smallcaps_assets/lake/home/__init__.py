"""The lake that a data folder has: what it is bound to, its id, and where it lies.

Does not belong here: paths within it (``lake.paths``).
"""
