-- Inserts one row like a job's first event: job_id, data, body.
insert into raw (job_id, version, kind, priority, queue, actor, data, body)
values (%(job_id)s, 1, 'enqueued', 1, 'default', 'bench', %(data)s::text::json, %(body)s::text::json)
