"""What a download costs, before and while it runs: requests, bytes, hours, a pilot's choice.

Does not belong here: where the figures are gathered (``ingest.budget``).
"""
