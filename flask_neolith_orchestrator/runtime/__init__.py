"""ENGINE ROOM: who runs, when, and what if it dies; threads and lifetimes, no Flask."""
