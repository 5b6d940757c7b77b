#!lua
-- Keeps waiting seeks alive.
--
-- KEYS[1]  the pool's waiting seeks by when they came
-- KEYS[2]  the same by the end of their lease (ms)
-- KEYS[3]  what to know of each
-- ARGV[1]  how long a seek holds: ms
-- ARGV[2] and on: the seeks
--
-- Answers those that do not wait (any more).
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = {}
for i = 2, #ARGV do
  local lease = call('ZSCORE', KEYS[2], ARGV[i])
  if lease and tonumber(lease) > now then
    call('ZADD', KEYS[2], now + ARGV[1], ARGV[i])
  else
    gone[#gone + 1] = ARGV[i]
    if lease then
      call('ZREM', KEYS[1], ARGV[i])
      call('ZREM', KEYS[2], ARGV[i])
      call('HDEL', KEYS[3], ARGV[i])
    end
  end
end
if #gone < #ARGV - 1 then
  for i = 1, 3 do call('PEXPIRE', KEYS[i], ARGV[1]) end
end
return gone
