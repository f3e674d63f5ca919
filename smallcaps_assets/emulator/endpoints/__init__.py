"""Endpoints of the vendor's API, one module each, and their pages.

Does not belong here: sockets (``emulator.http``).
"""
