"""The crash campaign: real server processes under load are killed and paused at random, and an auditor judges."""
