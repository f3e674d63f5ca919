"""Import of archives of ticks.

Does not belong here: reading their files (``lake.interchange``).
"""
