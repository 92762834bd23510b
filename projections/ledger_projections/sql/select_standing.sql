-- Says whether a projection's tables are all in the present schema, and which version of the code fills them.
--   projection, generation
--   tables   their names
-- The version is null when the generation has no cursor.
select
  (select bool_and(to_regclass(format('%%I.%%I', current_schema, t.name)) is not null)
   from unnest(%(tables)s::text[]) as t (name)) as complete,
  (select c.version
   from ledger.cursors c
   where c.projection = %(projection)s and c.generation = %(generation)s) as version
