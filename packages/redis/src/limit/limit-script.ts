/**
 * All that the store does, as one script: Redis runs it whole and alone, so that nothing comes between a question and what
 * follows from it. Numbers are integers below 2^53, which Lua and Redis both keep exactly.
 *
 * `KEYS`: the lease, then a key of each quota; of `read` the quotas alone, of `renew` leases alone.
 * `ARGV`: the operation, `leaseMs`, for how long a lease that is gone is remembered, then of each quota its kind and numbers.
 *
 * | key | |
 * |---|---|
 * | `lease:NAME` | a hash: `until`, `answer` or `done`; `p` and the key of each place; `b` and the key of each budget: what is counted as spent; `w` and its key: the end of a window, and what of that was counted in it |
 * | `rate:KEY` | a hash: `gone`, in millionths of a request, at the microsecond `at` |
 * | `places:KEY` | a sorted set of leases, by `until` |
 * | `budget:KEY/sum` | a hash: `spent` and `reserved`, the window from `start` to `ends`, and of each lease what it has reserved |
 * | `budget:KEY/held` | a sorted set of the leases that have reserved something, by `until` |
 *
 * `reserved` = the sum of what leases have reserved, always; both keys of a budget expire at the same moment, or one of them
 * would break that. Each key expires: a quota when nothing is used of it, and not before the last lease that has a part of it.
 */
export const limitScript = `
local operation, leaseMs, rememberedMs = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local nowUs = time[1] * 1000000 + time[2]
local now = math.floor(nowUs / 1000)
local dayMs = 86400000
-- What is silent is looked for in each quota of a call, so many leases at once.
local mostSilent = 500
local most = 9007199254740991

-- Redis writes no more than 17 digits of a number, and Lua's own way no more than 14.
local function text(number) return string.format('%.0f', number) end

local function heldKey(sumKey) return string.sub(sumKey, 1, -4) .. 'held' end

local quotas = {}
do
  local at = 3
  local function argument() at = at + 1; return ARGV[at] end
  local function number() return tonumber(argument()) end
  for index = operation == 'read' and 1 or 2, operation == 'renew' and 0 or #KEYS do
    local quota = { key = KEYS[index], kind = argument() }
    if quota.kind == 'rate' then
      quota.perSecond, quota.burst = number(), number()
    elseif quota.kind == 'places' then
      quota.limit, quota.holders = number(), quota.key
    else
      quota.limit, quota.window, quota.claimed, quota.want, quota.atLeast =
        number(), argument(), number(), number(), number()
      quota.holders = heldKey(quota.key)
    end
    quotas[#quotas + 1] = quota
  end
end

-- The day of a month, of days since 1970: Howard Hinnant's civil_from_days.
local function dayOfMonth(days)
  local dayOfEra = (days + 719468) % 146097
  local year = math.floor((dayOfEra - math.floor(dayOfEra / 1460) + math.floor(dayOfEra / 36524)
    - math.floor(dayOfEra / 146096)) / 365)
  local dayOfYear = dayOfEra - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * dayOfYear + 2) / 153)
  return dayOfYear - math.floor((153 * month + 2) / 5) + 1
end

local function boundsOf(window)
  local idleMs = tonumber(window)
  if idleMs then return now, now + idleMs end
  if window == 'month' then
    local days = math.floor(now / dayMs)
    local first = days - dayOfMonth(days) + 1
    -- 31 days later is a day of the next month, whatever this one is.
    local later = first + 31
    return first * dayMs, (later - dayOfMonth(later) + 1) * dayMs
  end
  local length = window == 'minute' and 60000 or dayMs
  local start = now - now % length
  return start, start + length
end

-- Silent leases lose what they had of a quota. Says whether there may be more of them.
local function forgetSilent(quota)
  local silent = redis.call('ZRANGEBYSCORE', quota.holders, '-inf', '(' .. text(now), 'LIMIT', 0, mostSilent)
  if #silent == 0 then return false end
  redis.call('ZREM', quota.holders, unpack(silent))
  if quota.kind == 'budget' then
    local back = 0
    for _, reserved in ipairs(redis.call('HMGET', quota.key, unpack(silent))) do
      back = back + tonumber(reserved or 0)
    end
    redis.call('HDEL', quota.key, unpack(silent))
    if back > 0 then redis.call('HINCRBY', quota.key, 'reserved', text(-back)) end
  end
  return #silent == mostSilent
end

local hasMoreSilent = false

-- What is gone of a rate's burst.
local function setGone(quota, gone)
  quota.gone, quota.used, quota.reserved = gone, math.ceil(gone / 1000000), 0
  quota.resetMs = math.min(most, math.ceil(gone / quota.perSecond / 1000))
end

-- Reads how a quota stands: used, reserved and resetMs; and of a budget what this lease has reserved (mine).
local function load(quota, lease)
  if quota.kind == 'rate' then
    local stored = redis.call('HMGET', quota.key, 'gone', 'at')
    local gone, at = tonumber(stored[1] or 0), tonumber(stored[2] or nowUs)
    -- A clock that went back fills nothing.
    if nowUs > at then gone = gone - math.floor((nowUs - at) * quota.perSecond) end
    setGone(quota, math.max(0, math.min(gone, quota.burst * 1000000)))
    return
  end
  if forgetSilent(quota) then hasMoreSilent = true end
  if quota.kind == 'places' then
    quota.used, quota.reserved, quota.resetMs = redis.call('ZCARD', quota.key), 0, -1
    return
  end
  local stored = redis.call('HMGET', quota.key, 'spent', 'reserved', 'start', 'ends', lease or '')
  quota.used, quota.mine = tonumber(stored[1] or 0), tonumber(stored[5] or 0)
  quota.reserved = tonumber(stored[2] or 0) - quota.mine
  quota.start, quota.ends = tonumber(stored[3] or 0), tonumber(stored[4] or 0)
  -- A clock that went back by less than a window stays in it: who puts it right at midnight begins no day twice.
  if now >= quota.ends or now < 2 * quota.start - quota.ends then
    quota.used = 0
    quota.start, quota.ends = boundsOf(quota.window)
  end
end

local function resetOf(quota)
  if quota.kind ~= 'budget' then return quota.resetMs end
  if quota.used == 0 and quota.reserved == 0 then return 0 end
  return quota.ends - now
end

local function refusal(index, retryMs)
  if hasMoreSilent then return { 2 } end
  local quota = quotas[index]
  return { 0, index, quota.used, quota.reserved, resetOf(quota), retryMs }
end

-- How rates and budgets stand goes behind what was granted.
local function withStates(answer)
  for _, quota in ipairs(quotas) do
    if quota.kind ~= 'places' then
      answer[#answer + 1] = quota.used
      answer[#answer + 1] = quota.reserved
      answer[#answer + 1] = resetOf(quota)
    end
  end
  return answer
end

local function budgetRefusal(index, needed)
  local quota = quotas[index]
  -- What is reserved outlives the window, and may come back at any time before its end.
  local needsWindow = quota.used + needed > quota.limit
  return refusal(index, needsWindow and needed <= quota.limit - quota.reserved and resetOf(quota) or -1)
end

local function expireAt(key, ms) redis.call('PEXPIREAT', key, text(math.min(ms, most))) end

-- Both keys of a budget, or the one of a place, live on until then.
local function keepUntil(key, holders, ms)
  if now + redis.call('PTTL', key) >= ms then return end
  expireAt(key, ms)
  if holders ~= key then expireAt(holders, ms) end
end

-- Gives a quota its lease's new time, if the lease still has a part of it.
local function renewHeld(lease, key, holders, untilMs)
  if redis.call('ZADD', holders, 'XX', 'CH', text(untilMs), lease) == 1 then
    keepUntil(key, holders, untilMs + 1)
  end
end

local function readRecord(lease)
  local record, flat = {}, redis.call('HGETALL', lease)
  for index = 1, #flat, 2 do record[flat[index]] = flat[index + 1] end
  return record
end

local function isLive(record) return tonumber(record['until'] or -1) >= now end

local function renewRecord(lease, record, untilMs, written)
  redis.call('HSET', lease, 'until', text(untilMs))
  expireAt(lease, untilMs + rememberedMs)
  for field in pairs(record) do
    local kind, key = string.sub(field, 1, 2), string.sub(field, 3)
    if kind == 'p:' then renewHeld(lease, key, key, untilMs) end
    if kind == 'b:' and not written[key] then renewHeld(lease, key, heldKey(key), untilMs) end
  end
end

if operation == 'read' then
  local answer = { 1 }
  for _, quota in ipairs(quotas) do
    load(quota)
    answer[#answer + 1] = quota.used
    answer[#answer + 1] = quota.reserved
    answer[#answer + 1] = resetOf(quota)
  end
  return hasMoreSilent and { 2 } or answer
end

if operation == 'renew' then
  for _, lease in ipairs(KEYS) do
    local record = readRecord(lease)
    if isLive(record) then renewRecord(lease, record, now + leaseMs, {}) end
  end
  return { 1 }
end

local lease = KEYS[1]
local record = readRecord(lease)
local untilMs = now + leaseMs

-- Counts what a budget's lease has spent, and reserves its slice: spent >= 0, and reserved >= the slice >= 0.
local function write(quota, slice)
  if quota.unknown > 0 then
    quota.used = math.min(most, quota.used + quota.unknown)
  end
  quota.used = quota.used - (quota.back or 0)
  if (quota.unknown > 0 or slice > 0) and tonumber(quota.window) then
    quota.start, quota.ends = boundsOf(quota.window)
  end
  local ofOthers = quota.reserved
  quota.reserved = ofOthers + slice
  if quota.used == 0 and quota.reserved == 0 then
    redis.call('DEL', quota.key, quota.holders)
    return
  end
  local keptMs = quota.used > 0 and quota.ends or 0
  if ofOthers > 0 then keptMs = math.max(keptMs, now + redis.call('PTTL', quota.key)) end
  redis.call('HSET', quota.key, 'spent', text(quota.used), 'reserved', text(quota.reserved),
    'start', text(quota.start), 'ends', text(quota.ends))
  if slice > 0 then
    redis.call('HSET', quota.key, lease, text(slice))
    redis.call('ZADD', quota.holders, text(untilMs), lease)
    keptMs = math.max(keptMs, untilMs + 1)
  elseif quota.mine > 0 then
    redis.call('HDEL', quota.key, lease)
    redis.call('ZREM', quota.holders, lease)
  end
  expireAt(quota.key, keptMs)
  expireAt(quota.holders, keptMs)
end

local function unknownOf(quota)
  return math.max(0, quota.claimed - tonumber(record['b:' .. quota.key] or 0))
end

-- What of it was told in the window that lasts.
local function toldNow(quota)
  local ends, told = string.match(record['w:' .. quota.key] or '', '(%d+) (%d+)')
  return ends and now < tonumber(ends) and tonumber(told) or 0
end

-- What was told beyond what was spent in all, at a lease's end.
local function backOf(quota)
  local more = tonumber(record['b:' .. quota.key] or 0) - quota.claimed
  return math.max(0, math.min(more, toldNow(quota), quota.used))
end

local function leftOf(quota) return math.max(0, quota.limit - quota.used - quota.reserved) end

local function countIn(quota)
  redis.call('HSET', lease, 'b:' .. quota.key, text(math.max(quota.claimed, tonumber(record['b:' .. quota.key] or 0))))
  if quota.unknown > 0 then
    redis.call('HSET', lease, 'w:' .. quota.key, text(quota.ends) .. ' ' .. text(toldNow(quota) + quota.unknown))
  end
end

local function leavePlaces()
  for field in pairs(record) do
    if string.sub(field, 1, 2) == 'p:' then
      redis.call('ZREM', string.sub(field, 3), lease)
      redis.call('HDEL', lease, field)
    end
  end
end

if operation == 'open' then
  if record.done or isLive(record) then
    local answer, slices = { 1 }, string.gmatch(record.answer or '', '%d+')
    for _, quota in ipairs(quotas) do
      load(quota)
      -- One that was extended or settled alone has no first answer.
      if quota.kind == 'budget' then answer[#answer + 1] = tonumber(slices() or 0) end
    end
    return withStates(answer)
  end
  for index, quota in ipairs(quotas) do
    load(quota, lease)
    if quota.kind == 'rate' then
      local missing = quota.gone + 1000000 - quota.burst * 1000000
      if missing > 0 then return refusal(index, math.min(most, math.ceil(missing / quota.perSecond / 1000))) end
    elseif quota.kind == 'places' then
      if quota.used >= quota.limit then return refusal(index, -1) end
    else
      quota.unknown = unknownOf(quota)
      local needed = quota.unknown + quota.atLeast
      if needed > leftOf(quota) then return budgetRefusal(index, needed) end
    end
  end
  leavePlaces()
  local answer = { 1 }
  redis.call('HSET', lease, 'until', text(untilMs))
  for _, quota in ipairs(quotas) do
    if quota.kind == 'rate' then
      setGone(quota, quota.gone + 1000000)
      redis.call('HSET', quota.key, 'gone', text(quota.gone), 'at', text(nowUs))
      expireAt(quota.key, now + quota.resetMs)
    elseif quota.kind == 'places' then
      redis.call('ZADD', quota.key, text(untilMs), lease)
      keepUntil(quota.key, quota.key, untilMs + 1)
      redis.call('HSET', lease, 'p:' .. quota.key, 1)
    else
      local slice = math.min(quota.want, leftOf(quota) - quota.unknown)
      write(quota, slice)
      countIn(quota)
      answer[#answer + 1] = slice
    end
  end
  redis.call('HSET', lease, 'answer', table.concat(answer, ' ', 2))
  expireAt(lease, untilMs + rememberedMs)
  return withStates(answer)
end

-- extend and settle
local isEnd = operation == 'settle'
if record.done then
  local answer = { 1 }
  for index, quota in ipairs(quotas) do
    load(quota, lease)
    -- A call that comes after the end gets nothing.
    if not isEnd and quota.atLeast > 0 then return refusal(index, -1) end
    answer[#answer + 1] = 0
  end
  return withStates(answer)
end
local answer, refusing, isWritten = { 1 }, nil, {}
for index, quota in ipairs(quotas) do
  load(quota, lease)
  quota.unknown = unknownOf(quota)
  if isEnd then quota.back = backOf(quota) end
  isWritten[quota.key] = true
  if not isEnd and not refusing and quota.atLeast > math.max(0, leftOf(quota) - quota.unknown) then refusing = index end
end
-- A removal first: Redis lets a script that has removed something go on when its memory is full, and an end frees some.
if isEnd then redis.call('DEL', lease) end
for _, quota in ipairs(quotas) do
  local slice = 0
  if refusing then
    -- What was reserved may be in use, although it was not told as spent.
    slice = math.max(0, quota.mine - quota.unknown)
    quota.kept = slice
  elseif not isEnd then
    slice = math.min(quota.want, math.max(0, leftOf(quota) - quota.unknown))
  end
  write(quota, slice)
  if not isEnd then countIn(quota) end
  answer[#answer + 1] = slice
end
if isEnd then
  leavePlaces()
  for field in pairs(record) do
    local key = string.sub(field, 3)
    if string.sub(field, 1, 2) == 'b:' and not isWritten[key] then
      local reserved = redis.call('HGET', key, lease)
      if reserved then
        redis.call('ZREM', heldKey(key), lease)
        redis.call('HDEL', key, lease)
        redis.call('HINCRBY', key, 'reserved', '-' .. reserved)
      end
    end
  end
  redis.call('HSET', lease, 'done', 1, 'answer', record.answer or '')
  expireAt(lease, now + rememberedMs)
  return { 1 }
end
if not isLive(record) then
  leavePlaces()
  for field in pairs(record) do if string.sub(field, 1, 2) == 'p:' then record[field] = nil end end
end
renewRecord(lease, record, untilMs, isWritten)
if refusing then
  -- What the lease itself keeps is no reason for its refusal.
  quotas[refusing].reserved = quotas[refusing].reserved - quotas[refusing].kept
  return budgetRefusal(refusing, quotas[refusing].atLeast)
end
return withStates(answer)
`;
