#!lua
-- Takes a member out of a set whose members lapse.
--
-- KEYS[1]  the members by when they joined
-- KEYS[2]  the members by when their time is over
-- ARGV[1]  the member
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
