"""The server: sockets, connections, routes, a log of requests.

Does not belong here: what is answered (``emulator.endpoints``).
"""
