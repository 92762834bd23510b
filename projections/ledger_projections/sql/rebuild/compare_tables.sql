-- Compares each table of the live generation with the next one's: those named by `name_tables`.
-- Leaves in the setting ledger.compared how many rows the next generation has, and how many rows differ. Where the rows'
-- hashes add up to the same, none do; only else are the rows themselves compared: per table the larger of what the one has
-- and the other has not, so that a changed row counts once. A block returns nothing, and only in a block can a table be
-- named at run time.
do $$
declare
  name text;
  live record;
  next record;
  only_live bigint;
  only_next bigint;
  rows bigint := 0;
  differing bigint := 0;
begin
  foreach name in array string_to_array(current_setting('ledger.tables'), ',') loop
    execute format('select count(*) as rows, sum(hash_record_extended(t, 0)) as hashes from ledger_read.%I as t', name)
      into live;
    execute format('select count(*) as rows, sum(hash_record_extended(t, 0)) as hashes from ledger_next.%I as t', name)
      into next;
    rows := rows + next.rows;
    if live is distinct from next then
      execute format(
        'select '
        '(select count(*) from (table ledger_read.%1$I except all table ledger_next.%1$I) as d), '
        '(select count(*) from (table ledger_next.%1$I except all table ledger_read.%1$I) as d)',
        name
      ) into only_live, only_next;
      differing := differing + greatest(only_live, only_next);
    end if;
  end loop;
  perform set_config('ledger.compared', format('{%s,%s}', rows, differing), true);
end
$$
