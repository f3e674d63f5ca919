"""Reference data as frames: daily bars, splits, listings, the universe.

Does not belong here: fetching and storing them (``ingest.reference``).
"""
