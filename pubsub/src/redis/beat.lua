#!lua
-- Says that somebody is there, and answers when nobody was.
--
-- KEYS[1]  when somebody was last there, ms, and when the last outage ended (0: there was none), a string '<at> <ended>'
-- KEYS[2]  the outages, a list of '<from> <to>'
-- ARGV[1]  when the asker was last here, ms; 0 if never: counts if the string was lost
-- ARGV[2]  silence that counts as an outage: ms
-- ARGV[3]  outages kept
-- ARGV[4]  how long they are kept: ms
--
-- Answers {now, from, to, from, to, ...}.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(string.match(call('GET', KEYS[1]) or ARGV[1], '%d+'))
if last > 0 and now - last >= tonumber(ARGV[2]) then
  call('RPUSH', KEYS[2], string.format('%d %d', last, now))
  call('LTRIM', KEYS[2], -ARGV[3], -1)
  call('PEXPIRE', KEYS[2], ARGV[4])
end
local answer = {now}
for _, outage in ipairs(call('LRANGE', KEYS[2], 0, -1)) do
  for word in string.gmatch(outage, '%d+') do answer[#answer + 1] = tonumber(word) end
end
local ended = #answer > 1 and answer[#answer] or 0
call('SET', KEYS[1], string.format('%d %d', now, ended))
return answer
