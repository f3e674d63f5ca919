"""The vendor, emulated: a synthetic market or a replay of flat files behind its wire format."""
