"""The ledger: its schema, statements, rows, writer and readers.

Does not belong here: records, which it is made from (``lake.segments``).
"""
