#!lua
-- Takes one node's report of who is in a room, and publishes the sums if that is due.
--
-- KEYS[1]  what was reported, a hash: 'n:<node>' holds a node's counts, '=' the state
-- KEYS[2]  the nodes by the end of their lease (ms), a sorted set
-- ARGV[1]  the room's channel
-- ARGV[2]  the node
-- ARGV[3]  how long its report holds: ms
-- ARGV[4]  how often a mere change of numbers may be published: ms
-- ARGV[5] and on: the counts
--
-- Sums are kept, not summed, so that a room on a thousand nodes costs no more than on one. The state is a line of numbers: how
-- many groups, when last published, then for each group its sum, since when it is absent (0: it is not), and the sum published.
-- Answers the attendance as it is published.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node = 'n:' .. ARGV[2]

local function numbers(text)
  local list = {}
  for word in string.gmatch(text or '', '%d+') do list[#list + 1] = tonumber(word) end
  return list
end

local kept = call('HMGET', KEYS[1], '=', node)
local state = numbers(kept[1])
local groups = math.max(state[1] or 0, #ARGV - 4)
local told_at = state[2] or 0
local sum, absent, told, ended = {}, {}, {}, {}
for g = 1, groups do
  sum[g] = state[3 * g] or 0
  absent[g] = state[3 * g + 1] or 0
  told[g] = state[3 * g + 2] or 0
end

-- Takes a report out of the sums; it ended then.
local function take(counts, at)
  for g, count in ipairs(counts) do
    if count > 0 and g <= groups then
      sum[g] = math.max(sum[g] - count, 0)
      ended[g] = math.max(ended[g] or 0, at)
    end
  end
end

-- No lease held: nobody could have seen anyone come or go.
local gap = call('ZCOUNT', KEYS[2], '(' .. now, '+inf') == 0
local lapsed = call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'WITHSCORES')
for i = 1, #lapsed, 2 do
  take(numbers(call('HGET', KEYS[1], lapsed[i])), tonumber(lapsed[i + 1]))
  call('HDEL', KEYS[1], lapsed[i])
  if lapsed[i] == node then kept[2] = false end
end
if #lapsed > 0 then call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now) end
if kept[2] then take(numbers(kept[2]), now) end
if gap then
  for g = 1, groups do sum[g], told[g] = 0, 0 end
end

local present = false
for g = 1, #ARGV - 4 do
  local count = tonumber(ARGV[g + 4])
  sum[g] = sum[g] + count
  present = present or count > 0
end
if present then
  call('HSET', KEYS[1], node, table.concat(ARGV, ' ', 5))
  call('ZADD', KEYS[2], now + ARGV[3], node)
else
  call('HDEL', KEYS[1], node)
  call('ZREM', KEYS[2], node)
end

local changed, crossed = false, false
for g = 1, groups do
  if sum[g] > 0 then
    absent[g] = 0
  elseif gap then
    absent[g] = now
  elseif absent[g] == 0 then
    absent[g] = ended[g] or now
  end
  changed = changed or sum[g] ~= told[g]
  crossed = crossed or (sum[g] == 0) ~= (told[g] == 0)
end
local tell = crossed or (changed and now - told_at >= tonumber(ARGV[4]))
if tell then
  told_at = now
  for g = 1, groups do told[g] = sum[g] end
end

local message, line = {'a'}, {groups, string.format('%d', told_at)}
for g = 1, groups do
  message[#message + 1] = string.format('%d %d', sum[g], absent[g])
  line[#line + 1] = string.format('%d %d %d', sum[g], absent[g], told[g])
end
message = table.concat(message, ' ') .. '\n'

local last = call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
if last[2] then
  call('HSET', KEYS[1], '=', table.concat(line, ' '))
  call('PEXPIREAT', KEYS[1], last[2])
  call('PEXPIREAT', KEYS[2], last[2])
else
  call('DEL', KEYS[1], KEYS[2])
end
if tell then call('SPUBLISH', ARGV[1], message) end
return message
