#!lua
-- Offers to pair a seeker with the longest-waiting live one of another user, else lets him wait.
--
-- KEYS[1]  the pool's waiting seeks by when they came (us), a sorted set
-- KEYS[2]  the same by the end of their lease (ms), a sorted set
-- KEYS[3]  what to know of each, a hash: mailbox, line feed, user
-- KEYS[4]  name of the offer this seeker made last, a string that lapses
-- KEYS[5]  name of the offer this seeker got last, a string that lapses
-- KEYS[6]  the offer to be made, a hash: waiting, other, mailbox (the other's), pairing (once accepted)
-- ARGV[1]  the seeker
-- ARGV[2]  mailbox, line feed, user
-- ARGV[3]  name of the offer to be made
-- ARGV[4]  how long a seek holds: ms
-- ARGV[5]  how long an offer stands: ms
-- ARGV[6], ARGV[7], ARGV[8]  what the names of KEYS[4], KEYS[5], KEYS[6] begin with: others of the pool are looked up by it
--
-- Answers {refused offer or '', the mailbox to tell of it, 'waiting'}, or
-- {refused or '', its mailbox, 'offered', offer, waiting seeker, his mailbox}.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me = ARGV[1]

local function remove(seeker)
  call('ZREM', KEYS[1], seeker)
  call('ZREM', KEYS[2], seeker)
  call('HDEL', KEYS[3], seeker)
end

-- KEYS[1] to KEYS[3] must not outlive their last seek.
local function keep()
  for i = 1, 3 do call('PEXPIRE', KEYS[i], ARGV[4]) end
end

local made = call('GET', KEYS[4])
if made then
  local standing = call('HMGET', ARGV[8] .. made, 'waiting', 'mailbox')
  -- If this very call made it, its answer was lost, and perhaps nobody has been told.
  if standing[1] then
    return {'', '', 'offered', made, standing[1], made == ARGV[3] and call('HGET', ARGV[8] .. made, 'to') or ''}
  end
end

local refused, refused_mailbox = '', ''
local got = call('GET', KEYS[5])
if got then
  local standing = call('HMGET', ARGV[8] .. got, 'mailbox', 'pairing', 'other')
  if standing[1] and not standing[2] then
    refused, refused_mailbox = got, standing[1]
    call('DEL', ARGV[8] .. got, KEYS[5], ARGV[6] .. standing[3])
  end
end

local lease = call('ZSCORE', KEYS[2], me)
if lease and tonumber(lease) > now then
  call('ZADD', KEYS[2], now + ARGV[4], me)
  keep()
  return {refused, refused_mailbox, 'waiting'}
end
if lease then remove(me) end

local user = string.sub(ARGV[2], string.find(ARGV[2], '\n', 1, true) + 1)
local from, page = 0, 32
while true do
  local seekers = call('ZRANGE', KEYS[1], from, from + page - 1)
  local passed = 0
  for _, seeker in ipairs(seekers) do
    local known = call('HGET', KEYS[3], seeker)
    lease = call('ZSCORE', KEYS[2], seeker)
    if not known or not lease or tonumber(lease) <= now then
      remove(seeker)
    else
      local feed = string.find(known, '\n', 1, true)
      if string.sub(known, feed + 1) == user then
        passed = passed + 1
      else
        local mailbox = string.sub(known, 1, feed - 1)
        local mine = string.sub(ARGV[2], 1, string.find(ARGV[2], '\n', 1, true) - 1)
        remove(seeker)
        call('HSET', KEYS[6], 'waiting', seeker, 'other', me, 'mailbox', mine, 'to', mailbox)
        call('PEXPIRE', KEYS[6], ARGV[5])
        call('SET', KEYS[4], ARGV[3], 'PX', ARGV[5])
        call('SET', ARGV[7] .. seeker, ARGV[3], 'PX', ARGV[5])
        return {refused, refused_mailbox, 'offered', ARGV[3], seeker, mailbox}
      end
    end
  end
  if #seekers < page then break end
  from = from + passed
end

call('ZADD', KEYS[1], time[1] * 1000000 + time[2], me)
call('ZADD', KEYS[2], now + ARGV[4], me)
call('HSET', KEYS[3], me, ARGV[2])
keep()
return {refused, refused_mailbox, 'waiting'}
