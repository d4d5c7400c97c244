"""STREET SIDE: all that knows a request."""
