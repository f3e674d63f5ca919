"""From events to sessions and request ranges: bounds, windows, merging, batches.

Does not belong here: what they cost (``core.budget``).
"""
