-- Notes how far a share has been folded, and returns how many events further that is, more or less: a batch is not counted,
-- for that would mean to read it once more. What is done comes to the exact number.
--   projections, partition
--   born_from   of the jobs that are left
--   count       events folded now, more or less
--   done        no job is left
with before as (
  select s.projection, s.folded
  from ledger.rebuild_shares s
  where s.projection = any (%(projections)s) and s.partition = %(partition)s
),
moved as (
  update ledger.rebuild_shares s
  set born_from = %(born_from)s,
      folded = case when %(done)s then s.total else least(s.folded + %(count)s, s.total) end,
      done = %(done)s
  from before b
  where s.projection = b.projection and s.partition = %(partition)s
  returning s.folded - b.folded as folded
)
select sum(m.folded)::bigint from moved m
