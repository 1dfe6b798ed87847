-- Begins an update: seen before, attempt, claim, session, rate limit. See `Store::begin` for what it promises.
-- KEYS: update, session, bucket, sticky, album, all under one hash tag; without the last ones that no flag asks for.
-- ARGV: worker, flags, user or '', session's seconds, when the user acted (ms), requests, window (ms), the other parts' update_ids
-- Flags, each 0 or 1: suspect? after a panic? charged? in an album? could a sticky service take it? charged only if one
--       does? handled as an album?
-- Before it stand, as locals: OPEN_SECONDS, BUCKET_SECONDS, ALBUM_SECONDS (how long an open update, a bucket and an
--       album's verdict are kept), HISTORY (the charges that are remembered).
-- Returns: word, attempts, user_id, plan, sent, dying, parked until (ms), sticky service, other parts; fewer where the
--       others are nothing, as they nearly always are
local worker, flags, user, session_seconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local acted, requests, window = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local function is_set(at) return string.byte(flags, at) == 49 end
local suspect_may_run, after_panic, charged, in_album = is_set(1), is_set(2), is_set(3), is_set(4)
local may_be_sticky, only_if_sticky, as_album = is_set(5), is_set(6), is_set(7)
local TOKEN = 1000

-- Of an update that has ended one word is kept, which is no hash: so the one read tells that too.
local known = redis.pcall('HMGET', KEYS[1], 'attempts', 'claim', 'limited', 'plan', 'sent', 'dying', 'parked', 'album')
if known.err then
  if not string.find(known.err, 'WRONGTYPE', 1, true) then return known end
  return {'ended'}
end
local attempts, ours = tonumber(known[1]) or 0, known[2] == worker
local begun_before = attempts > 0
if attempts > 0 and not ours and not suspect_may_run then
  return {'suspect', attempts}
end
-- One that was never counted is counted even if the claim is ours: Redis lost its memory in between.
if not ours or after_panic or attempts == 0 then
  attempts = attempts + 1
end

local user_id = false
if user ~= '' then
  user_id = redis.call('GET', KEYS[2]) or ('user_' .. user)
  -- A server without memory refuses this one, and so the script as a whole; behind a write that it takes, such as GETEX or
  -- EXPIRE, it would let all others pass.
  redis.call('SET', KEYS[2], user_id, 'EX', session_seconds)
end

local sticky = may_be_sticky and redis.call('GET', KEYS[4])

local function refilled(level, passed)
  local size = requests * TOKEN
  if passed >= window then return size end
  return math.min(size, level + math.floor(passed * size / window))
end

-- %.0f, since Lua would write a time in ms as 1.7e+12.
local function text(number) return string.format('%.0f', number) end

-- The bucket, as text: its level (thousandths of a token) and time at the latest charge and how many charges are
-- remembered; then, behind a bar, level and time at the oldest forgotten one, and the times of the charges since,
-- ascending. The same arithmetic as store/bucket.rs. The bar is there so that a charge in its order, as nearly all
-- are, is judged and written without the history's being read.
local function keep(level, latest, count, history)
  redis.call('SET', KEYS[3], table.concat({text(level), latest, count}, ' ') .. '|' .. history, 'EX', BUCKET_SECONDS)
end

-- With the oldest charge forgotten if there is one more than is remembered.
local function trimmed(count, history)
  if count <= HISTORY then return count, history end
  local level, since, oldest, rest = string.match(history, '^(%-?%d+) (%d+) (%d+)(.*)$')
  level = refilled(tonumber(level), tonumber(oldest) - tonumber(since)) - TOKEN
  return count - 1, text(level) .. ' ' .. oldest .. rest
end

-- One that acted before another that was charged: judged in its place, and with those behind it.
local function charge_late(count, history)
  local numbers = {}
  for number in string.gmatch(history, '%S+') do numbers[#numbers + 1] = number end
  local level, since = tonumber(numbers[1]), tonumber(numbers[2])
  if acted < since then return true end
  local at = #numbers + 1
  while at > 3 and tonumber(numbers[at - 1]) > acted do at = at - 1 end
  table.insert(numbers, at, ARGV[5])
  for place = 3, #numbers do
    local now = tonumber(numbers[place])
    level, since = refilled(level, now - since) - TOKEN, now
    if place >= at and level < 0 then return false end
  end
  keep(level, numbers[#numbers], trimmed(count + 1, table.concat(numbers, ' ')))
  return true
end

-- Takes a token as of `acted`; true where there was one.
local function charge()
  local bucket = redis.call('GET', KEYS[3])
  local level, latest, count, history
  if bucket then level, latest, count, history = string.match(bucket, '^(%-?%d+) (%d+) (%d+)|(.*)$') end
  -- A full one, as if it had always been.
  if not level then level, latest, count, history = requests * TOKEN, 0, 0, text(requests * TOKEN) .. ' 0' end
  level, latest, count = tonumber(level), tonumber(latest), tonumber(count)
  if acted < latest then return charge_late(count, history) end
  level = refilled(level, acted - latest) - TOKEN
  if level < 0 then return false end
  keep(level, ARGV[5], trimmed(count + 1, history .. ' ' .. ARGV[5]))
  return true
end

-- Decided once per update, and once per album.
local limited = known[3]
if not limited then
  limited = '0'
  if charged and (sticky or not only_if_sticky) then
    local verdict = in_album and redis.call('GET', KEYS[5])
    if not verdict then
      verdict = charge() and '0' or '1'
      if in_album then redis.call('SET', KEYS[5], verdict, 'EX', ALBUM_SECONDS) end
    end
    limited = verdict
  end
end

-- The parts of the first attempt stay: a service may have answered for these. One that was by itself has none.
local album = known[8]
if as_album and not album and not begun_before then
  album = ARGV[8]
  redis.call('HSET', KEYS[1], 'album', album)
end

redis.call('HSET', KEYS[1], 'attempts', attempts, 'claim', worker, 'limited', limited)
redis.call('EXPIRE', KEYS[1], OPEN_SECONDS)
local word = limited == '1' and 'limited' or 'run'
if not (known[4] or known[5] or known[6] or known[7] or sticky or album) then
  return {word, attempts, user_id}
end
return {word, attempts, user_id, known[4], tonumber(known[5]) or 0, known[6], tonumber(known[7]) or 0, sticky, album}
