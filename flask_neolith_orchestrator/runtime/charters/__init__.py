"""Charters: the ones that hold now, and how they are changed."""
