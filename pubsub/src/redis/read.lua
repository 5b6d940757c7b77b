#!lua flags=allow-oom
-- The log from some place to its end. Not flagged as a mere read, so that a server that has been demoted refuses it: what it
-- has may be old.
--
-- KEYS[1]  the log
-- ARGV[1]  number of the first event wanted
--
-- Answers {epoch, events}, or nil if there is no log.
local length = redis.call('LLEN', KEYS[1])
if length == 0 then return false end
local epoch = redis.call('LINDEX', KEYS[1], 0)
return {epoch, redis.call('LRANGE', KEYS[1], ARGV[1] + 1, -1)}
