-- The least that an append could be: what the real one is compared with.
-- KEYS: log, meta, queue, deadlines. ARGV: expected length, event, deadline, room, channel.
if redis.call('LLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return -1 end
redis.call('HGET', KEYS[2], 'epoch')
redis.call('RPUSH', KEYS[1], ARGV[2])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'room', ARGV[4], 'event', ARGV[2])
redis.call('ZADD', KEYS[4], ARGV[3], ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[2])
return 1
