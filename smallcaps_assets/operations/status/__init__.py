"""One look at a lake: what is stored, running and left.

Does not belong here: how it is shown (``cli.screens``).
"""
