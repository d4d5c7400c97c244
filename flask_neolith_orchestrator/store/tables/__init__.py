"""The tables: our classes for the host's database, made as mixins."""
