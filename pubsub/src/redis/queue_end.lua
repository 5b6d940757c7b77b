#!lua flags=allow-oom
-- The highest position ever given in one partition's queue.
--
-- KEYS[1]  the queue, a stream
-- KEYS[2]  how far it is archived, a hash
--
-- Answers {life, id}, or nil.
local life = redis.call('HGET', KEYS[2], 'life')
if not life or redis.call('EXISTS', KEYS[1]) == 0 then return false end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then return {life, info[i + 1]} end
end
return false
