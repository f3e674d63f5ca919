"""Events E1 to E11 and the lists of those that were found.

Does not belong here: windows around them (``core.plan``).
"""
