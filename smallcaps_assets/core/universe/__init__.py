"""Universes: whole months of many tickers, planned by the lives of listings, in units of batches.

Does not belong here: which listings there are (``core.reference``), event windows (``core.plan``).
"""
