"""What looks after a lake and reports on it; it never asks the vendor by itself.

Does not belong here: making a plan and downloading it (``ingest``).
"""
