-- Hands in the acknowledgements of one queue and takes its next messages, the most urgent first.
--
-- KEYS  the dispatch streams of one queue, the most urgent first
-- ARGV  1 group, 2 consumer, 3 how many messages at most, then for each key: n, and n ids that are done with
--
-- Returns a list of {index of the key, id, fields}. A group that is gone (Redis was wiped) is made again at 0, in here,
-- so that neither messages nor errors pile up. Acknowledged entries are deleted: a stream holds ready jobs only.
local group, consumer, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3])
local next_argument = 4
for _, key in ipairs(KEYS) do
  local count = tonumber(ARGV[next_argument])
  local first, last = next_argument + 1, next_argument + count
  for from = first, last, 1000 do
    local to = math.min(from + 999, last)
    redis.call('XACK', key, group, unpack(ARGV, from, to))
    redis.call('XDEL', key, unpack(ARGV, from, to))
  end
  next_argument = last + 1
end
local taken = {}
for index, key in ipairs(KEYS) do
  if #taken >= wanted then break end
  local command = {'XREADGROUP', 'GROUP', group, consumer, 'COUNT', wanted - #taken, 'STREAMS', key, '>'}
  local reply = redis.pcall(unpack(command))
  if reply and reply.err then
    if not string.find(reply.err, 'NOGROUP') then return reply end
    redis.call('XGROUP', 'CREATE', key, group, '0', 'MKSTREAM')
    reply = redis.call(unpack(command))
  end
  if reply then
    for _, entry in ipairs(reply[1][2]) do
      taken[#taken + 1] = {index, entry[1], entry[2]}
    end
  end
end
return taken
