"""A lake on its way to another folder: copies, the switch, removal.

Does not belong here: the command's order of steps (``operations.repair.moving``).
"""
