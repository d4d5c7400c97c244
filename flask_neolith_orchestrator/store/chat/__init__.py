"""The chat as it is read and written: the bundled one, and a host's own."""
