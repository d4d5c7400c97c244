"""PIPES: one outside thing per file, behind a port; imported lazily."""
