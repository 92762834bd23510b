-- Puts the next generation's tables in the place of the live one's: those named by `name_tables`.
-- Takes the exclusive lock of each live table; a reader that waits for it finds the new table by the same name.
do $$
declare
  name text;
begin
  foreach name in array string_to_array(current_setting('ledger.tables'), ',') loop
    execute format('drop table if exists ledger_read.%I', name);
    execute format('alter table ledger_next.%I set schema ledger_read', name);
  end loop;
end
$$
