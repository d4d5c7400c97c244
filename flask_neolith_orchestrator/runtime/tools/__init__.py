"""What a turn can do besides writing."""
