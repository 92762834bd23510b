-- What stands aside, as CSV that `copy` reads back: whole lives, in the order of job ids.
copy (
  select e.position, e.at, e.job_id, e.version, e.kind, e.priority, e.schema_version, e.queue, e.actor, e.data, e.body,
         e.meta
  from ledger.retired e
  order by e.job_id, e.version
) to stdout with (format csv, header)
