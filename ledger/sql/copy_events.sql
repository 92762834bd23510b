-- Streams first events of new jobs into the log. Position and time come by default, in the columns nobody may set.
copy ledger.events (job_id, version, kind, priority, queue, actor, data, body, meta) from stdin
