"""Long campaigns against the product: `make faults`; their short form belongs to the gate."""
