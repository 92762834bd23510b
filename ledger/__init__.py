"""Background jobs whose single source of truth is an append-only event log in Postgres."""
