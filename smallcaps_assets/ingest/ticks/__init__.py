"""The download: ranges, answers, failures, disk room, heartbeat.

Does not belong here: what is downloaded (``ingest.plan``).
"""
