-- I6: no lease nonce is given out twice; it is what makes a token unique for ever. One pass over the log.
select (array_agg(e.job_id || ':' || e.version order by e.position))[1] as subject,
       'a nonce used once' as expected,
       'nonce ' || coalesce(e.data ->> 'nonce', 'missing') || ' used ' || count(*) || ' times' as found
from ledger.events e
where e.kind = 'leased'
group by e.data ->> 'nonce'
having count(*) > 1 or e.data ->> 'nonce' is null
order by 1
