"""The scenarios of interop/README.md, a module for each of its tables."""
