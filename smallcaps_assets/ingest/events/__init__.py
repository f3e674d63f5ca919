"""From daily bars to watchlists, and what they lack.

Does not belong here: the rules (``core.events``).
"""
