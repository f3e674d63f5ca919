"""Files that come from other programs and that go to them.

Does not belong here: the lake's own format (``lake.segments``).
"""
