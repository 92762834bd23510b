"""The demonstration: `make demo` runs one job for every file of Python's standard library, and shows what became of it.

`jobs.py` is what a user would write; the other modules start the system as real processes, watch it, and check that not
one file was lost or counted twice.
"""
