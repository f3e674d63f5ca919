"""The lake on disk: paths, whole writes, segments, ledger, catalog; nothing of the vendor."""
