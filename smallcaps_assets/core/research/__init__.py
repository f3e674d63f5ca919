"""Research as pure functions: classes of prints, bars, features, events, labels and weights.

Does not belong here: months and files of them (``research``), pictures (``plots.research``).
"""
