"""Assets by group, thin: one use case each, and its metadata.

Does not belong here: use cases (``ingest``, ``operations``).
"""
