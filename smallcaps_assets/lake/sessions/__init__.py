"""A stored session: Parquet, receipt, commit, damage, quarantine, revisions.

Does not belong here: which session is wanted (``core.plan``).
"""
