"""From a watchlist to a published plan: choice, difference, pictures.

Does not belong here: windows and ranges (``core.plan``).
"""
