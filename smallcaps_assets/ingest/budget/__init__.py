"""What is known of the lake when costs are estimated, and the estimates themselves.

Does not belong here: the arithmetic (``core.budget``).
"""
