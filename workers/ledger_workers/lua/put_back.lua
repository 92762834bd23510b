-- Puts messages back at the end of their stream, for any worker to take.
--
-- KEYS  1 stream
-- ARGV  1 group, then the ids of entries that are pending at this worker
--
-- Returns how many went back. An entry that is no longer there is only acknowledged. One script, so that a message is
-- never on the stream twice nor, for a moment, not at all.
local back = 0
for i = 2, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    redis.call('XADD', KEYS[1], '*', unpack(entry[2]))
    back = back + 1
  end
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  redis.call('XDEL', KEYS[1], ARGV[i])
end
return back
