"""Requests to the vendor: transport, deadlines, rate, retries, one page.

Does not belong here: what a page holds (``polygon.wire``).
"""
