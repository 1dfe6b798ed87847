-- Begins an update: seen before, attempt, claim, session, rate limit. See `Store::begin` for what it promises.
-- KEYS: update, session, bucket, album, sticky, all under one hash tag.
-- ARGV: worker, seconds to keep an open update, suspect?, after a panic?, user or '', session's seconds,
--       charged?, when the user acted (ms), requests, window (ms), seconds to keep a bucket,
--       seconds to keep an album, in an album?, charges remembered, could a sticky service take it?,
--       charged only if one does?, handled as an album?, the other parts' update_ids
-- Returns: word, attempts, user_id, limited?, plan, sent, dying, parked until (ms), sticky service, other parts
local worker, open_seconds = ARGV[1], ARGV[2]
local suspect_may_run, after_panic = ARGV[3] == '1', ARGV[4] == '1'
local user, session_seconds = ARGV[5], ARGV[6]
local charged, acted = ARGV[7] == '1', tonumber(ARGV[8])
local requests, window = tonumber(ARGV[9]), tonumber(ARGV[10])
local TOKEN = 1000

if redis.call('TYPE', KEYS[1]).ok == 'string' then
  return {'ended', 0, false, 0, false, 0, false, 0, false, false}
end
local known = redis.call('HMGET', KEYS[1], 'attempts', 'claim', 'limited', 'plan', 'sent', 'dying', 'parked', 'album')
local attempts, ours = tonumber(known[1]) or 0, known[2] == worker
local begun_before = attempts > 0
if attempts > 0 and not ours and not suspect_may_run then
  return {'suspect', attempts, false, 0, false, 0, false, 0, false, false}
end
-- One that was never counted is counted even if the claim is ours: Redis lost its memory in between.
if not ours or after_panic or attempts == 0 then
  attempts = attempts + 1
end

local user_id = false
if user ~= '' then
  user_id = redis.call('GET', KEYS[2]) or ('user_' .. user)
  redis.call('SET', KEYS[2], user_id, 'EX', session_seconds)
end

local sticky = ARGV[15] == '1' and redis.call('GET', KEYS[5])

-- The bucket is a list of numbers: its level (thousandths of a token) and time at the oldest forgotten
-- charge, then the times of the charges since, ascending. The same arithmetic as store/bucket.rs.
local function refilled(level, passed)
  local size = requests * TOKEN
  if passed >= window then return size end
  return math.min(size, level + math.floor(passed * size / window))
end

local function lowest(bucket)
  local level, before, least = bucket[1], bucket[2], math.huge
  for at = 3, #bucket do
    level = refilled(level, bucket[at] - before) - TOKEN
    before = bucket[at]
    least = math.min(least, level)
  end
  return least
end

-- Takes a token as of `acted`; true where there was one.
local function charge()
  local bucket = {}
  for number in string.gmatch(redis.call('GET', KEYS[3]) or '', '%S+') do
    bucket[#bucket + 1] = tonumber(number)
  end
  if #bucket == 0 then bucket = {requests * TOKEN, 0} end
  if acted < bucket[2] then return true end
  local at = #bucket + 1
  while at > 3 and bucket[at - 1] > acted do at = at - 1 end
  table.insert(bucket, at, acted)
  if lowest(bucket) < 0 then return false end
  if #bucket - 2 > tonumber(ARGV[14]) then
    bucket[1] = refilled(bucket[1], bucket[3] - bucket[2]) - TOKEN
    bucket[2] = bucket[3]
    table.remove(bucket, 3)
  end
  -- %.0f, since Lua would write a time in ms as 1.7e+12.
  for i, number in ipairs(bucket) do bucket[i] = string.format('%.0f', number) end
  redis.call('SET', KEYS[3], table.concat(bucket, ' '), 'EX', ARGV[11])
  return true
end

-- Decided once per update, and once per album.
local limited = known[3]
if not limited then
  limited = '0'
  if charged and (sticky or ARGV[16] ~= '1') then
    local in_album = ARGV[13] == '1'
    local verdict = in_album and redis.call('GET', KEYS[4])
    if not verdict then
      verdict = charge() and '0' or '1'
      if in_album then redis.call('SET', KEYS[4], verdict, 'EX', ARGV[12]) end
    end
    limited = verdict
  end
end

-- The parts of the first attempt stay: a service may have answered for these. One that was by itself has none.
local album = known[8]
if ARGV[17] == '1' and not album and not begun_before then
  album = ARGV[18]
  redis.call('HSET', KEYS[1], 'album', album)
end

redis.call('HSET', KEYS[1], 'attempts', attempts, 'claim', worker, 'limited', limited)
redis.call('EXPIRE', KEYS[1], open_seconds)
return {'run', attempts, user_id, tonumber(limited), known[4], tonumber(known[5]) or 0, known[6],
  tonumber(known[7]) or 0, sticky, album}
