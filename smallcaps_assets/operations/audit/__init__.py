"""Audits of a lake, and the last result.

Does not belong here: the judgements (``core``).
"""
