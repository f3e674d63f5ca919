"""Tables of reference, events and plan on disk.

Does not belong here: their columns (``schemas``).
"""
