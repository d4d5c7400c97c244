"""Turns: claimed, thought and finished."""
