"""STUDY: what one message means; no threads, no SQL, no vendor, no Flask."""
