-- Makes the transaction one that cannot write: the old system is only looked at. No parameters.
set transaction isolation level repeatable read, read only
