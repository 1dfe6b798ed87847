-- What concerns a whole bot: how long it is parked, and how many replies its workers have sent in about a second.
-- KEYS: parked, replies (a count for each quarter of a second by this server's clock). ARGV: replies sent since the last beat.
-- Returns: milliseconds that the bot is still parked, or less than 0; replies.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 4 + math.floor(tonumber(time[2]) / 250000)
if tonumber(ARGV[1]) > 0 then
  redis.call('HINCRBY', KEYS[2], string.format('%.0f', now), ARGV[1])
  redis.call('EXPIRE', KEYS[2], 5)
end
local sum, known = 0, redis.call('HGETALL', KEYS[2])
for at = 1, #known, 2 do
  local quarter = tonumber(known[at])
  -- Those of a clock that has gone back since count for nothing either.
  if quarter < now - 4 or quarter > now then
    redis.call('HDEL', KEYS[2], known[at])
  else
    sum = sum + tonumber(known[at + 1])
  end
end
return {redis.call('PTTL', KEYS[1]), sum}
