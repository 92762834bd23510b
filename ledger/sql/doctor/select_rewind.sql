-- When the log was last found to have been taken back in time, and by which event that was seen.
-- No parameters. The audit of a thing that happens once in years is short; served by the index on subject.
select extract(epoch from clock_timestamp() - a.at)::float8 as age_seconds, a.after ->> 'event' as event
from ledger.audit a
where a.subject = 'log' and a.action = 'log.rewound'
order by a.position desc
limit 1
