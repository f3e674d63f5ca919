"""Universes: the published plan of whole ticker-months, how its units stand, and fetching them.

Does not belong here: lives, units and costs as such (``core.universe``), listings
(``ingest.reference``), the download itself (``ingest.ticks``).
"""
