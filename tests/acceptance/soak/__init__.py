"""The soak: a real server under mixed load and a provider that misbehaves; what it uses must not grow.

`python -m tests.acceptance.soak --minutes 30` prints a table and ends with 0, or with 1 and the reasons.
"""
