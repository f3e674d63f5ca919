"""Universes: how their units stand, and what a run does with some of them.

Does not belong here: bits, batches and keys (``core.universe``), the download itself (``ticks``).
"""
