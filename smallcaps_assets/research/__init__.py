"""Use cases of research: from what is proven in the lake to bars, events, labels and win rates.

What belongs here: what is read, in parts of bounded memory, and what is written.  What does not:
the rules (``core.research``) and pictures (``plots.research``).  The lake is read through
``lake.reading`` alone.
"""
