"""What readers open: lists of parts, scans, the catalog.

Does not belong here: what is stored and when (``lake.segments``).
"""
