#!lua flags=allow-oom
-- Takes or keeps a lease.
--
-- KEYS[1]  who holds it, a string that lapses
-- ARGV[1]  who wants it
-- ARGV[2]  for how long: ms
--
-- Answers 0 if he has it, else how long another will: ms.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return math.max(1, redis.call('PTTL', KEYS[1])) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0
