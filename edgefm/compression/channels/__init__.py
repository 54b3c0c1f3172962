"""Channel removal (slim): which channels depend on each other, which to keep, what is saved."""
