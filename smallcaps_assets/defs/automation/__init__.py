"""What Dagster does by itself: sensors, schedules, alerts.

Does not belong here: what they decide by (``operations.automation``).
"""
