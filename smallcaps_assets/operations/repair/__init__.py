"""Damage moved aside, months healed, a lake moved.

Does not belong here: what damage is (``lake.sessions``).
"""
