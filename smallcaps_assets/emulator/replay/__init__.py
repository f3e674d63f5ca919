"""Real prints from flat files, as a source of answers.

Does not belong here: prints that are made up (``emulator.market``).
"""
