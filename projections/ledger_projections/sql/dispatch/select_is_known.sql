-- Whether the log knows an event, or knew it: a week that has left the log is no loss.
--   job_id, version
-- Served by the primary key; there are few retirements.
select exists (select from ledger.events e where e.job_id = %(job_id)s and e.version = %(version)s)
    or exists (select from ledger.retirements r where r.born_from <= %(job_id)s and %(job_id)s < r.born_to)
