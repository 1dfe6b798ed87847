-- One write of an update that was begun. See `Store` for what each step promises.
-- KEYS: update; of a plan, session, sticky, and the other parts of the album, up to the last that is needed; of a
--       finish, these parts. ARGV: worker, step, and what the step needs.
-- Returns 1, or 0 where another worker has claimed the update since.
local worker, step = ARGV[1], ARGV[2]

-- Of an update that has ended one word is kept, which is no hash: so the one read tells that too.
local claim, ended = redis.pcall('HGET', KEYS[1], 'claim'), false
if type(claim) == 'table' then
  if not string.find(claim.err, 'WRONGTYPE', 1, true) then return claim end
  ended = redis.call('GET', KEYS[1])
end
if step == 'answer' then
  if ended then return 0 end
  -- Whose right it is, and a mark of the call; or that it was used, as "done", or as an earlier version wrote it.
  local known, mine = redis.call('HGET', KEYS[1], 'answered'), worker .. ' '
  local is_others = known and string.find(known, ' ', 1, true) and string.sub(known, 1, #mine) ~= mine
  if known and not is_others then return known == mine .. ARGV[4] and 1 or 0 end
  redis.call('HSET', KEYS[1], 'answered', mine .. ARGV[4])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
  return 1
end
if step == 'answered' then
  local known, mine = not ended and redis.call('HGET', KEYS[1], 'answered'), worker .. ' '
  if known and string.sub(known, 1, #mine) == mine then
    if ARGV[3] == '1' then
      redis.call('HSET', KEYS[1], 'answered', 'done')
    else
      redis.call('HDEL', KEYS[1], 'answered')
    end
  end
  return 1
end
if ended then
  -- Whoever still has something to write of an update that another one ended has to stop.
  if step == 'release' or (step == 'finish' and ended == ARGV[3]) then return 1 end
  return 0
end

if claim and claim ~= worker then return 0 end

-- The other parts of the album, from that key on, end too; one that has ended stays as it is.
local function end_parts(from, word, seconds)
  for at = from, #KEYS do
    if redis.call('TYPE', KEYS[at]).ok ~= 'string' then
      redis.call('SET', KEYS[at], word, 'EX', seconds)
    end
  end
end

if step == 'finish' then
  -- SET replaces the hash: of an update that has ended only this is kept (facts D5).
  redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[4])
  end_parts(2, ARGV[3], ARGV[4])
  return 1
end
if step == 'release' then
  if claim then
    -- None was counted if Redis lost its memory since `begin`.
    local attempts = tonumber(redis.call('HGET', KEYS[1], 'attempts')) or 0
    if attempts > 0 then redis.call('HSET', KEYS[1], 'attempts', attempts - 1) end
    redis.call('HDEL', KEYS[1], 'claim')
  end
  return 1
end

if step == 'plan' then
  redis.call('HSETNX', KEYS[1], 'plan', ARGV[3])
  if ARGV[4] ~= '' then redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5]) end
  if ARGV[7] == '' then
    redis.call('DEL', KEYS[3])
  elseif ARGV[7] then
    redis.call('SET', KEYS[3], ARGV[7], 'EX', ARGV[8])
  end
  end_parts(4, 'done', ARGV[6])
elseif step == 'sent' then
  redis.call('HSET', KEYS[1], 'sent', ARGV[3])
elseif step == 'parked' then
  redis.call('HSET', KEYS[1], 'parked', ARGV[3])
elseif step == 'dying' then
  redis.call('HSET', KEYS[1], 'dying', ARGV[3])
end
if not claim then
  -- Redis lost its memory since `begin`: what is kept from here on is claimed, and does not stay for ever.
  redis.call('HSET', KEYS[1], 'claim', worker)
  redis.call('EXPIRE', KEYS[1], 172800)
end
return 1
