"""One process among others: its jobs, its health, and what it does for those that died."""
