"""Months written once more, and removal of what they replace.

Does not belong here: the files themselves (``lake.months``).
"""
