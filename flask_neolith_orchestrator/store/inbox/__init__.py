"""Work that waits: deliveries, what wakes for them, what holds them, and letters to the host."""
