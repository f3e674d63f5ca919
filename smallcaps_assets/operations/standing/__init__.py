"""How far a universe is, and what is known of one ticker: from plan and ledger alone.

Does not belong here: sums over bits (``core.universe.progress``), and how they look (``cli``).
"""
