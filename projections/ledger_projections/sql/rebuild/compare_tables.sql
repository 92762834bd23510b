-- Compares each table of the live generation with the next one's, row by row: those named by `name_tables`.
-- Leaves in the setting ledger.compared how many rows the next generation has, and how many rows differ: per table the
-- larger of what the one has and the other has not, so that a changed row counts once. A block returns nothing, and only
-- in a block can a table be named at run time.
do $$
declare
  name text;
  present bigint;
  only_live bigint;
  only_next bigint;
  rows bigint := 0;
  differing bigint := 0;
begin
  foreach name in array string_to_array(current_setting('ledger.tables'), ',') loop
    execute format(
      'select (select count(*) from ledger_next.%1$I), '
      '(select count(*) from (table ledger_read.%1$I except all table ledger_next.%1$I) as d), '
      '(select count(*) from (table ledger_next.%1$I except all table ledger_read.%1$I) as d)',
      name
    ) into present, only_live, only_next;
    rows := rows + present;
    differing := differing + greatest(only_live, only_next);
  end loop;
  perform set_config('ledger.compared', format('{%s,%s}', rows, differing), true);
end
$$
