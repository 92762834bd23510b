"""What the log looks like now: the engine that folds it, the read models it fills in Postgres, and dispatch in Redis.

Everything in this room is disposable and made again from the log; nothing in it writes to the log.
"""
