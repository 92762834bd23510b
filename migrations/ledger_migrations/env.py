"""Alembic's entry: runs the migrations in the one transaction that `migrate` opened."""

from alembic import context

from ledger_migrations.migrate import SCHEMA

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="schema_version", version_table_schema=SCHEMA)
context.run_migrations()
