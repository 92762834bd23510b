"""Running jobs: leases from the log, handlers in threads, on the loop or in processes, outcomes back to the log.

One supervisor (`ledger worker`) starts the worker processes and beats for them; it runs no handler. What may happen to
a job is decided in `ledger`; what happens because time passes, in `ledger_scheduler`.
"""
