#!lua
-- Takes a waiting seek out of the pool.
--
-- KEYS[1]  the pool's waiting seeks by when they came
-- KEYS[2]  the same by the end of their lease (ms)
-- KEYS[3]  what to know of each
-- ARGV[1]  the seek
--
-- Answers 1 if it was waiting, else 0.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = call('ZSCORE', KEYS[2], ARGV[1])
call('ZREM', KEYS[1], ARGV[1])
call('ZREM', KEYS[2], ARGV[1])
call('HDEL', KEYS[3], ARGV[1])
if lease and tonumber(lease) > now then return 1 end
return 0
