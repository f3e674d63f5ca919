"""Files of other programs: their columns, times and rows, and what is found wrong there.

Does not belong here: reading them from a disk (``lake.interchange``).
"""
