"""Names and places of everything in a lake.

Does not belong here: opening any of it (``lake.storage``).
"""
