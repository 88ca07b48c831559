import { redisScript } from '../connection/redis-link.ts';

/**
 * What the scripts of a source have in common. `KEYS`: the stream, and what is kept of its reader. `ARGV`: the group, the
 * consumer, and the source that calls.
 *
 * The reader's key is a hash. `owner`: the source that was opened last, so that one before it gets nothing any more. `read`: how
 * many of the entries that were ever added are read or known to be missing, so that what was trimmed before it was read is counted.
 * `deleted`: the last deleted id that was told. `gap:N`: a gap that was not acknowledged, as `FROM TO COUNT REASON`. `FROM` is
 * the id behind which it begins, or `=ID`; `TO` its last id, or `<ID` behind its last; a count of -1 is unknown.
 *
 * They are allowed to write where memory is full: who reads makes room.
 */
const prelude = `#!lua flags=allow-oom
local stream, reader, group, consumer, owner = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]

local function fields(list)
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end

local function place()
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if groups.err then return nil end
  for _, each in ipairs(groups) do
    local found = fields(each)
    if found['name'] == group then return found end
  end
end

-- Digits, which may be more than a number is exact.
local function lessDigits(one, other)
  if #one ~= #other then return #one < #other end
  return one < other
end
local function less(one, other)
  local ms, number = string.match(one, '(%d+)-(%d+)')
  local otherMs, otherNumber = string.match(other, '(%d+)-(%d+)')
  if ms ~= otherMs then return lessDigits(ms, otherMs) end
  return lessDigits(number, otherNumber)
end

local function tell(from, to, count, reason)
  local number = redis.call('HINCRBY', reader, 'gaps', 1)
  redis.call('HSET', reader, 'gap:' .. number, table.concat({ from, to, count, reason }, ' '))
end

-- A group of its own, that begins with the oldest entry. What was removed before it was there is no gap of it.
local function create(isForgotten)
  redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
  local info = fields(redis.call('XINFO', 'STREAM', stream))
  local read = isForgotten and 0 or info['entries-added'] - info['length']
  redis.call('HSET', reader, 'read', read, 'deleted', isForgotten and '0-0' or info['max-deleted-entry-id'])
end
`;

/**
 * Opens the place of a name: makes it if there is none, and takes over what any consumer of the group has read and not
 * acknowledged.
 */
export const openScript = redisScript(`${prelude}
local known = fields(redis.call('HGETALL', reader))
local found = place()
if not found then
  create(known['owner'])
  -- The stream was removed, with its groups.
  if known['owner'] then tell('0-0', '0-0', -1, 'forgotten') end
elseif not known['read'] then
  -- Another program has made the group. What it has not got of what is there was not removed.
  local info = fields(redis.call('XINFO', 'STREAM', stream))
  local read, last = found['entries-read'], found['last-delivered-id']
  if not read then
    read = info['entries-added']
    if less(last, info['recorded-first-entry-id']) then read = read - info['length'] end
  end
  redis.call('HSET', reader, 'read', read, 'deleted', info['max-deleted-entry-id'])
end
redis.call('HSET', reader, 'owner', owner)
local isOthers = false
for _, each in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local other = fields(each)
  if other['name'] ~= consumer and other['pending'] > 0 then isOthers = true end
end
local next = '0-0'
while isOthers do
  local claimed = redis.call('XAUTOCLAIM', stream, group, consumer, 0, next, 'COUNT', 100, 'JUSTID')
  next = claimed[1]
  local gone = claimed[3]
  if #gone > 0 then tell('=' .. gone[1], gone[#gone], #gone, 'removed') end
  isOthers = next ~= '0-0'
end
return 1
`);

/**
 * Gives what is pending behind an id, and then what is new. `ARGV` further: that id, the most entries, and the most bytes, of which
 * one entry may have more.
 *
 * Returns whether the caller is the owner, whether the stream was forgotten, whether all that is pending is among the entries, the
 * last id that was ever given, the entries as `[id, fields]`, without fields where they were removed, and the gaps as `[name, text]`.
 */
export const takeScript = redisScript(`${prelude}
local cursor, most, mostBytes = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local known = fields(redis.call('HGETALL', reader))
local found = place()
local isForgotten = not found or not known['owner']
if known['owner'] and known['owner'] ~= owner then return { 0 } end
if isForgotten then
  if not found then create(true) else redis.call('HSET', reader, 'read', fields(redis.call('XINFO', 'STREAM', stream))['entries-added'], 'deleted', '0-0') end
  redis.call('HSET', reader, 'owner', owner)
  tell(cursor, cursor, -1, 'forgotten')
  cursor = '0-0'
  found = place()
  known = fields(redis.call('HGETALL', reader))
end

local entries, bytes, isWhole = {}, 0, true
-- Several at a time: what does not fit is pending then, and comes with the next call.
local function add(list)
  for _, entry in ipairs(list) do
    local size = 0
    if entry[2] then
      for i = 2, #entry[2], 2 do size = size + #entry[2][i] end
    end
    if #entries > 0 and bytes + size > mostBytes then
      isWhole = false
      return false
    end
    bytes = bytes + size
    entries[#entries + 1] = entry
  end
  return true
end
local function read(from)
  local count = math.min(most - #entries, 10)
  local got = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, from)
  return got and got[1][2] or {}
end

local behind = cursor
while true do
  if #entries == most then
    isWhole = false
    break
  end
  local list = read(behind)
  if #list == 0 or not add(list) then break end
  behind = list[#list][1]
end

local last = found['last-delivered-id']
if isWhole then
  local info = fields(redis.call('XINFO', 'STREAM', stream))
  local added, length, deleted, newest =
    info['entries-added'], info['length'], info['max-deleted-entry-id'], info['last-generated-id']
  local first = info['recorded-first-entry-id']
  local sum = tonumber(known['read'])
  local isBehind = length == 0 or less(last, first)
  local missing = isBehind and added - length - sum or 0
  local isDeleted = less(last, deleted) and less(known['deleted'], deleted)
  if missing > 0 or isDeleted then
    local to = deleted
    if isBehind then
      if length == 0 then to = newest elseif not isDeleted or less(deleted, first) then to = '<' .. first end
    end
    tell(last, to, missing > 0 and missing or -1, 'removed')
    if isDeleted then redis.call('HSET', reader, 'deleted', deleted) end
    if length == 0 then last = newest end
    if missing > 0 then
      sum = added - length
      -- Redis counts from here on, too: it would take what was trimmed for what is not read, for ever.
      redis.call('XGROUP', 'SETID', stream, group, last, 'ENTRIESREAD', sum)
    end
  end
  local isEmpty = false
  while isWhole and #entries < most do
    local list = read('>')
    isEmpty = #list == 0
    if isEmpty then break end
    sum = sum + #list
    last = list[#list][1]
    add(list)
  end
  if isEmpty then sum = added end
  if sum ~= tonumber(known['read']) then redis.call('HSET', reader, 'read', sum) end
end

local gaps = {}
known = redis.call('HGETALL', reader)
for i = 1, #known, 2 do
  if string.sub(known[i], 1, 4) == 'gap:' then gaps[#gaps + 1] = { known[i], known[i + 1] } end
end
return { 1, isForgotten and 1 or 0, isWhole and 1 or 0, last, entries, gaps }
`);
