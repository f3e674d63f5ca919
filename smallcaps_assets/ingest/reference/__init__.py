"""Daily bars, splits and the universe, from the vendor or from files.

Does not belong here: what is sound among them (``core.reference``).
"""
