"""The documentation; `build` keeps its tables true."""
