"""A lake of segments kept in few files: months packed, and files removed that nothing names.

Does not belong here: the choice (``core.segments.upkeep``) and the order of operations
(``lake.upkeep.packing``).
"""
