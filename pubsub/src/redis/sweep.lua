#!lua
-- Rooms of one partition whose deadline has passed, for the one node that sweeps it.
--
-- KEYS[1]  the node that sweeps, a string that lapses
-- KEYS[2]  the partition's deadlines, a sorted set of rooms
-- ARGV[1]  the node
-- ARGV[2]  how long its lease holds: ms
-- ARGV[3]  the deadline must lie before: ms
-- ARGV[4]  how many at most
--
-- Answers {room, deadline, room, deadline, ...}, earliest first.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[3], 'WITHSCORES', 'LIMIT', 0, ARGV[4])
