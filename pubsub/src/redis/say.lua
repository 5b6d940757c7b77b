#!lua
-- Keeps a line and publishes it.
--
-- KEYS[1]  the lines of the topic, a list
-- ARGV[1]  the room's channel
-- ARGV[2]  the head of the message
-- ARGV[3]  the body
-- ARGV[4]  how many lines are kept
-- ARGV[5]  for how long after the last one: ms
redis.call('RPUSH', KEYS[1], ARGV[3])
redis.call('LTRIM', KEYS[1], -ARGV[4], -1)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('SPUBLISH', ARGV[1], ARGV[2] .. ARGV[3])
return 1
