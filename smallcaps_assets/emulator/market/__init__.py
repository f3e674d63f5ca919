"""A market that is made up from a seed: listings, history, prints.

Does not belong here: real prints (``emulator.replay``).
"""
