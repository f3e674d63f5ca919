"""Commands: one module each, of click, thin.

Does not belong here: what they do (``cli.runs``, use cases) and how it looks (``cli.screens``).
"""
