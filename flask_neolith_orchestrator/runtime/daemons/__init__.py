"""The daemons of one process: who starts, stops and watches them, and the logins that ask for it."""
