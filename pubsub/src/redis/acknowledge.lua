#!lua flags=allow-oom
-- Entries of one partition's queue are archived: trims the queue up to the lowest that is not.
--
-- KEYS[1]  the queue, a stream with the group 'archive'
-- KEYS[2]  how far it is archived, a hash: the queue's life, and below which id all is
-- ARGV     ids of entries
--
-- Answers {life, below}, or nil if there is no such queue (any more).
local call = redis.call
for i = 1, #ARGV, 1000 do
  call('XACK', KEYS[1], 'archive', unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
local pending = redis.pcall('XPENDING', KEYS[1], 'archive')
local life = call('HGET', KEYS[2], 'life')
if pending.err or not life then return false end
local below = pending[1] > 0 and pending[2]
if not below then
  -- Nothing is under way: all is archived that was ever taken.
  for _, group in ipairs(call('XINFO', 'GROUPS', KEYS[1])) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    if fields['name'] == 'archive' then
      local ms, number = string.match(fields['last-delivered-id'], '^(%d+)-(%d+)$')
      below = ms .. '-' .. string.format('%.0f', number + 1)
    end
  end
end
call('XTRIM', KEYS[1], 'MINID', below)
call('HSET', KEYS[2], 'below', below)
return {life, below}
