#!lua flags=allow-oom
-- How much of one partition waits for the archive.
--
-- KEYS[1]  the queue, a stream
--
-- Answers {length, id of the oldest entry}; {0} if there is none.
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
if not oldest[1] then return {0} end
return {redis.call('XLEN', KEYS[1]), oldest[1][1]}
