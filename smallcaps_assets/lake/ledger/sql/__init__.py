"""The words of the ledger, in the dialect of SQLite: tables, and statements about them.

Does not belong here: when a statement runs, and the shape of its rows.
"""
