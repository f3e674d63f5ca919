"""A ticker-session: its rows as Parquet, its receipt, what is wrong with it.

Does not belong here: which session is wanted (``core.plan``).
"""
