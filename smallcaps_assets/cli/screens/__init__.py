"""What a terminal shows: status, progress, summaries, tables.

Does not belong here: what is measured for it (``operations``).
"""
