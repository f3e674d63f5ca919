"""The frozen writer of lakes of receipts, a file and a receipt for each session (format 1).

Benches compare segments with it, and tests make lakes by it that `smallcaps import --lake` takes
over.  The product reads such lakes there and nowhere else, and never writes one.  Nothing here is
improved: it writes what the last version that had the format wrote.
"""
