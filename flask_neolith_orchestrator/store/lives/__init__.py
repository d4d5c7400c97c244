"""Daemons, their logins, and the processes that they live in."""
