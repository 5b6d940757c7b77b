#!lua flags=allow-oom
-- Forgets a room that is over and archived, if it is what its archiver thinks, and empty.
--
-- KEYS[1]  the log
-- KEYS[2]  the partition's deadlines, a sorted set of rooms
-- KEYS[3]  nodes with somebody in the room, by the end of their lease (ms), a sorted set
-- ARGV[1]  the room
-- ARGV[2]  the epoch
-- ARGV[3]  the number the next event would have
--
-- Answers 1 if there is no log now, else 0.
local call = redis.call
local length = call('LLEN', KEYS[1])
if length == 0 then return 1 end
if call('LINDEX', KEYS[1], 0) ~= ARGV[2] or length - 1 ~= tonumber(ARGV[3]) then return 0 end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if call('ZCOUNT', KEYS[3], now, '+inf') > 0 then return 0 end
call('UNLINK', KEYS[1])
call('ZREM', KEYS[2], ARGV[1])
return 1
