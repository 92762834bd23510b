-- Deletes the rows of the jobs that `name_births` names from every read model that has rows of jobs: each table with a
-- column job_id, which is the first of its key. Only in a block can a table be named at run time.
do $$
declare
  model regclass;
begin
  for model in
    select a.attrelid::regclass
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'ledger_read'::regnamespace and c.relkind = 'r' and a.attname = 'job_id'
    order by c.relname
  loop
    execute format(
      'delete from %s where job_id >= %L and job_id < %L',
      model, current_setting('ledger.born_from'), current_setting('ledger.born_to')
    );
  end loop;
end
$$
