"""Tests of parts that work together, with real servers where there are any."""
