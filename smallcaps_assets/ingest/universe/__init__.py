"""Universes: from listings, a file or daily bars to a published plan of whole ticker-months.

Does not belong here: lives, units and costs as such (``core.universe``), listings
(``ingest.reference``).
"""
