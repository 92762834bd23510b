-- Streams in rows like jobs' first events.
copy raw (job_id, version, kind, priority, queue, actor, data, body) from stdin
