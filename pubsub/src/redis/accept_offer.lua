#!lua
-- Turns an offer that stands into a pairing.
--
-- KEYS[1]  the offer, a hash: waiting, other, mailbox (the other's), pairing (once accepted), by (the call that did)
-- ARGV[1]  the pairing
-- ARGV[2]  how long it can be looked up: ms
-- ARGV[3]  a name of this call
-- ARGV[4]  what the name of the key begins with under which the other's last offer stands
--
-- Answers nil if the offer lapsed, else {the pairing that holds, the mailbox to tell or ''}.
local offer = redis.call('HMGET', KEYS[1], 'mailbox', 'pairing', 'by', 'other')
if not offer[1] then return false end
if offer[2] then
  -- If this very call did it, its answer was lost, and perhaps nobody has been told.
  return {offer[2], offer[3] == ARGV[3] and offer[1] or ''}
end
redis.call('HSET', KEYS[1], 'pairing', ARGV[1], 'by', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', ARGV[4] .. offer[4], ARGV[2])
return {ARGV[1], offer[1]}
