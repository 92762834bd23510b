-- Whether the read model of jobs is there yet: it is made by the first projector, not by migrations.
select to_regclass('ledger_read.jobs') is not null
