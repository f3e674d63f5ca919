"""From events to win rates: confirmation, decisions, labels, costs, weights.

Does not belong here: bars and their features (the modules beside), reading a lake (``research``).
"""
