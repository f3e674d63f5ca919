"""The vendor: one HTTP client, its pace, and the wire format; nothing of storage."""
