"""The ledger: its schema, statements, rows, writer and readers.

Does not belong here: receipts, which it is made from (``lake.sessions``).
"""
