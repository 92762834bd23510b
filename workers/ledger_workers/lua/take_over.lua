-- Puts back what is pending at workers that have not been seen for long, and removes those with nothing pending.
--
-- KEYS  1 stream
-- ARGV  1 group, 2 our own consumer, 3 silence in milliseconds, 4 how many entries at most
--
-- Returns {entries put back, consumers removed}. Goes by consumer, not by the age of an entry, and what it has handled
-- is no longer pending, so no entry can stand in the way of those behind it. Trimmed entries are acknowledged.
local group, own, silence, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], group)
if consumers.err then return {0, 0} end
local back, removed, handled = 0, 0, 0
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  if consumer.name ~= own and consumer.idle >= silence then
    local left = consumer.pending
    if left > 0 and handled < most then
      local entries = redis.call('XPENDING', KEYS[1], group, '-', '+', most - handled, consumer.name)
      for _, pending in ipairs(entries) do
        local entry = redis.call('XRANGE', KEYS[1], pending[1], pending[1])[1]
        if entry then
          redis.call('XADD', KEYS[1], '*', unpack(entry[2]))
          back = back + 1
        end
        redis.call('XACK', KEYS[1], group, pending[1])
        redis.call('XDEL', KEYS[1], pending[1])
      end
      handled, left = handled + #entries, left - #entries
    end
    if left <= 0 then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, consumer.name)
      removed = removed + 1
    end
  end
end
return {back, removed}
