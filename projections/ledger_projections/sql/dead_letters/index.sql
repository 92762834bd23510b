-- The index of `dead_letters` besides its key.
create index if not exists dead_letters_by_failure on dead_letters (failed_at desc, job_id);
