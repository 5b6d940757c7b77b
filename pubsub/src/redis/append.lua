#!lua
-- Compares, appends, enqueues for the archive, sets the deadline and publishes: one step. Either all of it happens and the
-- answer is 1, or nothing does.
--
-- KEYS[1]  the log, a list: first the epoch, then the events, so that event n is element n + 1
-- KEYS[2]  the partition's deadlines, a sorted set of rooms
-- KEYS[3]  the partition's queue, a stream; only where there is one
-- KEYS[4]  how far that is archived, a hash; only where there is a queue
-- ARGV[1]  the epoch these events continue; '' creates the log
-- ARGV[2]  the epoch to create it with
-- ARGV[3]  the number the first event will have
-- ARGV[4]  how far they may be ahead of this server's clock, less the latest moment they claim: ms
-- ARGV[5]  the deadline, ms; '' for none
-- ARGV[6]  the room
-- ARGV[7]  its channel
-- ARGV[8]  the head of the message; the events follow it
-- ARGV[9]  a name for the queue's life, should it begin with this
-- ARGV[10] and on: the events
--
-- While a slot of a cluster moves, a script runs only where all its keys are. So all are named, and the deadlines, which all
-- rooms of the partition share, are kept in being by a member that is no room.
--
-- Answers {'gone', end}, {'other', epoch}, {'already', epoch}, {'conflict', epoch, events from ARGV[3] on}, {'time', now};
-- where there is a queue, {'queued', its life, the entry's id} instead of 1.
local call = redis.call
local expected = tonumber(ARGV[3])
local length = call('LLEN', KEYS[1])
if length == 0 then
  if ARGV[1] ~= '' or expected > 0 then return {'gone', 0} end
else
  local epoch = call('LINDEX', KEYS[1], 0)
  if ARGV[1] ~= '' and ARGV[1] ~= epoch then return {'other', epoch} end
  if expected >= length then return {'gone', length - 1} end
  if expected < length - 1 then
    local there = call('LRANGE', KEYS[1], expected + 1, -1)
    for i = 10, #ARGV do
      if there[i - 9] ~= ARGV[i] then return {'conflict', epoch, there} end
    end
    return {'already', epoch}
  end
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now + ARGV[4] < 0 then return {'time', now} end

if length == 0 then
  call('RPUSH', KEYS[1], ARGV[2])
  call('ZADD', KEYS[2], '+inf', '')
end
-- Lua's stack has room for some thousand values at a time.
for i = 10, #ARGV, 1000 do
  call('RPUSH', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
if ARGV[5] ~= '' then
  call('ZADD', KEYS[2], ARGV[5], ARGV[6])
else
  call('ZREM', KEYS[2], ARGV[6])
end
local message = ARGV[8] .. table.concat(ARGV, '', 10)
local answer = 1
if KEYS[3] then
  local life = call('HGET', KEYS[4], 'life')
  if not life then
    life = ARGV[9]
    call('HSET', KEYS[4], 'life', life)
  end
  local id = call('XADD', KEYS[3], '*', 'room', ARGV[6], 'life', life, 'log', message)
  answer = {'queued', life, id}
end
call('SPUBLISH', ARGV[7], message)
return answer
