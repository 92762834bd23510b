-- Drops those of the tables named by `name_tables` that are in the present schema.
do $$
declare
  name text;
begin
  foreach name in array string_to_array(current_setting('ledger.tables'), ',') loop
    execute format('drop table if exists %I.%I', current_schema, name);
  end loop;
end
$$
