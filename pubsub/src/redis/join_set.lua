#!lua
-- Puts a member into a set whose members lapse. One that is in keeps its place.
--
-- KEYS[1]  the members by when they joined (us), a sorted set
-- KEYS[2]  the members by when their time is over (ms), a sorted set
-- ARGV[1]  the member
-- ARGV[2]  its time: ms
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, member in ipairs(call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  call('ZREM', KEYS[1], member)
  call('ZREM', KEYS[2], member)
end
call('ZADD', KEYS[1], 'NX', time[1] * 1000000 + time[2], ARGV[1])
call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
local last = call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
call('PEXPIREAT', KEYS[1], last[2])
call('PEXPIREAT', KEYS[2], last[2])
return 1
