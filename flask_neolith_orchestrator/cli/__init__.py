"""The command line: `flask neolith ...`."""
