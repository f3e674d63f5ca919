"""What is asked of Dagster's instance: runs, partition states, its internals.

Does not belong here: definitions of assets and jobs.
"""
