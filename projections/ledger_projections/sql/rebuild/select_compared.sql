-- What `compare_tables` has found: rows compared, rows that differ.
select found.counts[1], found.counts[2] from (select current_setting('ledger.compared')::bigint[] as counts) as found
