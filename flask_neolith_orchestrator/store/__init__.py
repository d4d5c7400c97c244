"""MEMORY: what must survive a crash; the only room that knows SQLAlchemy."""
