"""HTTP: the API, its probes and metrics, over the two doors `Ledger` (writes) and `Queries` (reads). No rules here."""
