"""The log's schema over time: Alembic migrations of the log and the control tables.

Read models are not here; they are rebuilt, never migrated. Nothing in `versions` imports our code, for an old migration
must not change when the code does.
"""
