"""The benchmark: `make bench` measures Ledger and its peers in turn, under one harness, on this machine.

`__main__` is the command. It installs the peers (`venvs`), starts the servers (`servers`) and runs one part after the
other, each as a process of its own with a time limit (`part`). `peers/` says how each system is used, four functions
each; what runs in a peer's own environment (`producer`, `stamps`, `peers/`) imports nothing but the standard library.
`report`, `targets` and `plots` make tables, verdicts and pictures of the figures that the parts leave on disk.
"""
