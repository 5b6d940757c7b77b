#!lua flags=allow-oom
-- Life and end of a log. Not flagged as a mere read, like read.lua.
--
-- KEYS[1]  the log
--
-- Answers {epoch, end}, or nil if there is no log.
local length = redis.call('LLEN', KEYS[1])
if length == 0 then return false end
return {redis.call('LINDEX', KEYS[1], 0), length - 1}
