"""The vendor, emulated: a synthetic market or a replay of flat files behind its wire format.

What belongs here: everything a client of the vendor can see, and the faults it should survive.
What does not: anything the product imports; ``cli`` starts the emulator as a process of its own,
tests run it in theirs.
"""
