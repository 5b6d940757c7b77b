#!lua
-- Says what became of an offer, and takes it back if nothing did.
--
-- KEYS[1]  the offer, a hash: waiting, other, mailbox (the other's), pairing (once accepted)
-- ARGV[1], ARGV[2]  what the names of the keys begin with under which the seekers' last offers made and got stand
--
-- Answers {'paired', pairing}, {'taken back', the other's mailbox}, or nil if there was no such offer.
local offer = redis.call('HMGET', KEYS[1], 'mailbox', 'pairing', 'other', 'waiting')
if not offer[1] then return false end
if offer[2] then return {'paired', offer[2]} end
redis.call('DEL', KEYS[1], ARGV[1] .. offer[3], ARGV[2] .. offer[4])
return {'taken back', offer[1]}
