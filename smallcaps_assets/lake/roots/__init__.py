"""What a lake is bound to, and in which folder it lies: identity, register, place.

Does not belong here: paths within one (``lake.paths``).
"""
