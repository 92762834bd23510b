-- Adds messages to a dispatch stream, and tells the dispatchers which, so that they need not.
--
-- KEYS  the stream; the hold of its queue
-- ARGV  1 channel for what was added, 2 channel to ask for a look, then for each message: job, version, attempt, type
--
-- While the queue is held, or the stream is not there, nothing is added and the dispatchers are asked to look. Both in one,
-- so that nobody is told of a message which is not there.
local told = {}
if redis.call('EXISTS', KEYS[2]) == 0 then
  for at = 3, #ARGV, 4 do
    local fields = {'job', ARGV[at], 'version', ARGV[at + 1], 'attempt', ARGV[at + 2], 'type', ARGV[at + 3]}
    if not redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', unpack(fields)) then break end
    told[#told + 1] = ARGV[at] .. ':' .. ARGV[at + 1]
  end
end
if told[1] then
  redis.call('PUBLISH', ARGV[1], table.concat(told, ' '))
else
  redis.call('PUBLISH', ARGV[2], '')
end
