"""What alerts, retries and freshness are decided by.

Does not belong here: dagster's sensors (``defs.automation``).
"""
