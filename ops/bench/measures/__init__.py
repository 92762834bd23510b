"""What is measured: each module has functions that take a session or servers and sizes, and return figures."""
