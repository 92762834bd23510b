-- Whether the log knows an event, or knew it: a week that has left the log is no loss. Or whether its loss has been told.
--   job_id, version   its place
--   at                its time in microseconds: a log that was taken back may have another event at that place by now
--   event             both in one, as the audit has it
-- Served by the primary key, and by the audit's index on subject; there are few retirements.
select exists (
      select from ledger.events e
      where e.job_id = %(job_id)s and e.version = %(version)s
        and (extract(epoch from e.at) * 1000000)::bigint = %(at)s
    )
    or exists (select from ledger.retirements r where r.born_from <= %(job_id)s and %(job_id)s < r.born_to)
    or exists (
      select from ledger.audit a
      where a.subject = 'log' and a.action = 'log.rewound' and a.after ->> 'event' = %(event)s
    )
