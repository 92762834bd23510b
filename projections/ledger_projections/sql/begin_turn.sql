-- Makes the transaction see one snapshot throughout. Must come before any query in it; the snapshot is that of the first.
set transaction isolation level repeatable read
