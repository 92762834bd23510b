-- Allows the transaction to be idle while Redis is read and filled: longer than a turn may, and still not for ever.
select set_config('idle_in_transaction_session_timeout', '10min', true)
