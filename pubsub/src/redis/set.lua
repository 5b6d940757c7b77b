#!lua flags=allow-oom
-- The members of a set whose time is not over, oldest joining first. Not flagged as a mere read, like read.lua.
--
-- KEYS[1]  the members by when they joined
-- KEYS[2]  the members by when their time is over
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do over[member] = true end
local members = {}
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if not over[member] then members[#members + 1] = member end
end
return members
