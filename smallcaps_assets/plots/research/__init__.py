"""Pictures of research: bars, events, labels.

Does not belong here: how pictures look in general (``plots.style``).
"""
