"""AI colleagues as ordinary users of your Flask chat app."""

__version__ = "0.1.0"
