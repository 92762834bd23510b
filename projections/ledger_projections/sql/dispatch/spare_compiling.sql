-- Keeps this session from compiling statements, which would take longer than any of them runs. Nothing but speed depends
-- on it: a pooler may lose it or pass it on.
select set_config('jit', 'off', false)
