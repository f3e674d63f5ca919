"""What readers open: lists of files, scans, batches, the catalog.

Does not belong here: what is stored and when (``lake.sessions``).
"""
