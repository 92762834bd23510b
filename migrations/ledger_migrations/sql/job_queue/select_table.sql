-- Says whether a table is there, as seen from the search path.
--   name
select to_regclass(%(name)s) is not null
