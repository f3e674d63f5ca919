"""Folders a lake is spread over: identity, register, markers, placement.

Does not belong here: paths within one (``lake.paths``).
"""
