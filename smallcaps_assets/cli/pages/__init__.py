"""Pages that ship or are made from the code: documentation, schemas of JSON.

Does not belong here: what a command prints while it works (``cli.screens``).
"""
