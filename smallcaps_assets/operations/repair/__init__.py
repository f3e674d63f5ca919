"""Damage moved aside, months rebuilt, a lake moved.

Does not belong here: what damage is (``lake.sessions``).
"""
