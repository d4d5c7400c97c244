"""The routes of the API, one module per kind of thing; `web/calls.py` is the way through which all of them go."""
