"""What the vendor sends: envelopes, trades, chains, and what must not be shown.

Does not belong here: sockets (``polygon.http``).
"""
