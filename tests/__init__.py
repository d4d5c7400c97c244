"""Tests: unit, integration, acceptance."""
