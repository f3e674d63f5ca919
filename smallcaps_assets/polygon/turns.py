"""Turns at the processor, for the threads that decode pages and encode sessions.

Threads hide the vendor's latency, but the interpreter runs one of them at a time, and each gives
way at every call into a library.  With 32 threads at work at once, the columns of all of them
push one another out of the processor's caches and the interpreter lock goes round for nothing: a
session costs up to twice the CPU.  So any number of threads may wait for the network, and few
work.

What does not belong here: how many threads there are (``ingest``), and the shared rate
(``polygon.http.limiter``).
"""

import threading
from typing import Final

TURNS: Final = 2
"""While one thread is in a library that gave the interpreter lock away (Parquet, inflate,
hashes), another one can run; a third finds no lock to take."""

PROCESSOR: Final = threading.BoundedSemaphore(TURNS)
"""Held while a thread works and never while it waits: for the network, a rate, or a disk."""
