"""The way of a message in: whom it wakes, whether it is accepted, and what its author is told at once."""
