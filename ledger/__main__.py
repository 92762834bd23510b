"""`python -m ledger`: the `ledger` command of this very interpreter."""

from ledger.cli import main

main(prog_name="ledger")
