"""What an answer holds, and how faults change it.

Does not belong here: where its rows come from (``emulator.market``, ``emulator.replay``).
"""
