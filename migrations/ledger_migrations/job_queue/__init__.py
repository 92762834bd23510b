"""Taking over from job-queue: its jobs in Redis, its dead letters and schedules in Postgres become Ledger's.

Everything taken is made by the rules every request goes by. Each old id is kept for good as an idempotency key, in the
transaction that makes the job: so the same import again, or two at once, add nothing.
"""
