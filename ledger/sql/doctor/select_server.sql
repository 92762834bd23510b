-- What this Postgres is and how it is set: version, what a commit promises, how busy it is, and its clock.
-- No parameters. Without the privilege to see others' sessions, only our own transactions are counted.
select
  current_setting('server_version_num')::int as version_number,
  current_setting('server_version') as version,
  current_setting('synchronous_commit') as synchronous_commit,
  current_setting('fsync') as fsync,
  current_setting('full_page_writes') as full_page_writes,
  current_setting('max_connections')::int as max_connections,
  (select count(*) from pg_stat_activity where backend_type = 'client backend') as connections,
  (select extract(epoch from max(clock_timestamp() - xact_start))::float8
   from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend') as oldest_transaction_seconds,
  clock_timestamp() as now
