#!lua
-- Puts back what a log lost, for a node that holds more of it: one step. Never touches an event that stands there.
--
-- KEYS[1]  the log, a list: first the epoch, then the events
-- KEYS[2]  the partition's deadlines, a sorted set of rooms
-- KEYS[3]  the partition's queue, a stream; only where there is one
-- KEYS[4]  how far that is archived, a hash; only where there is a queue
-- ARGV[1]  the epoch as the node knows it
-- ARGV[2]  the random part of an epoch, should a new one be needed
-- ARGV[3]  the deadline that goes with the last event, ms; '' for none
-- ARGV[4]  the room
-- ARGV[5]  its channel
-- ARGV[6]  a name for the queue's life, should it begin with this
-- ARGV[7] and on: all events from 0 that the node holds
--
-- Answers {'extended', epoch, from}, {'held', epoch, end}, or {'forked', epoch, at, 1 if this call began the epoch}.
local call = redis.call
local held = #ARGV - 6
local there = call('LRANGE', KEYS[1], 0, -1)
local length = #there - 1
local epoch = there[1]

local function generation(name) return tonumber(string.match(name, '^%d+')) end

-- Events `from` to the end of `list` (whose event 0 is element `base`), as they go over the channel and into the queue.
local function message(from, list, base)
  local head = {'e', epoch, string.format('%d', from)}
  for i = base + from, #list do head[#head + 1] = string.format('%d', #list[i]) end
  return table.concat(head, ' ') .. '\n' .. table.concat(list, '', base + from)
end

local function enqueue(text)
  if not KEYS[3] then return end
  local life = call('HGET', KEYS[4], 'life')
  if not life then
    life = ARGV[6]
    call('HSET', KEYS[4], 'life', life)
  end
  call('XADD', KEYS[3], '*', 'room', ARGV[4], 'life', life, 'log', text)
end

if length >= 0 then
  for i = 1, math.min(length, held) do
    if there[i + 1] ~= ARGV[i + 6] then
      local raised = 0
      if generation(epoch) <= generation(ARGV[1]) then
        raised = 1
        epoch = string.format('%d', generation(ARGV[1]) + 1) .. '.' .. ARGV[2]
        call('LSET', KEYS[1], 0, epoch)
        enqueue(message(0, there, 2))
        call('SPUBLISH', ARGV[5], 'e ' .. epoch .. ' ' .. string.format('%d', length) .. '\n')
      end
      return {'forked', epoch, i - 1, raised}
    end
  end
  if generation(epoch) < generation(ARGV[1]) then
    -- A failover lost the beginning of the newer life.
    epoch = ARGV[1]
    call('LSET', KEYS[1], 0, epoch)
    enqueue(message(0, there, 2))
    call('SPUBLISH', ARGV[5], 'e ' .. epoch .. ' ' .. string.format('%d', length) .. '\n')
  end
  if length >= held then return {'held', epoch, length} end
else
  length, epoch = 0, ARGV[1]
  call('RPUSH', KEYS[1], epoch)
  call('ZADD', KEYS[2], '+inf', '')
end
-- Lua's stack has room for some thousand values at a time.
for i = 7 + length, #ARGV, 1000 do
  call('RPUSH', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
if ARGV[3] ~= '' then
  call('ZADD', KEYS[2], ARGV[3], ARGV[4])
else
  call('ZREM', KEYS[2], ARGV[4])
end
local text = message(length, ARGV, 7)
enqueue(text)
call('SPUBLISH', ARGV[5], text)
return {'extended', epoch, length}
