"""Pictures by matplotlib.

Does not belong here: what is measured for them (``operations``, ``ingest``).
"""
