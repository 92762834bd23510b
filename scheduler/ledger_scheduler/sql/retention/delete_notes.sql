-- Deletes the notes of the jobs of a range of ids. Served by the primary key.
--   born_from, born_to   the second is not in the range
delete from ledger.notes where job_id >= %(born_from)s and job_id < %(born_to)s
