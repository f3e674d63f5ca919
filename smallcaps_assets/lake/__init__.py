"""The lake on disk: paths, whole writes, receipts, ledger, catalog; nothing of the vendor."""
