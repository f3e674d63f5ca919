"""How work gets on: pace, health, and whether to expand.

Does not belong here: what it costs beforehand (``core.budget``).
"""
