"""GROUND: the words of the domain. Imports nothing of ours."""
