"""The names of the schemas, and where the log's tables are declared for people who compose queries.

`ledger` holds the truth and what controls the processes; migrations own it. `ledger_read` holds the read models: it can
be dropped at any time and is rebuilt from the log. `ledger_next` is where the next generation of a read model grows.
"""

LEDGER = "ledger"
READ = "ledger_read"
NEXT = "ledger_next"
