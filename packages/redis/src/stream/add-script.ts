import { redisScript } from '../connection/redis-link.ts';

/**
 * Whether the user may do what {@link addScript} does. `KEYS`: the stream, its life, and what is known of some stream. Each command
 * fails for its arguments after the rights were looked at, so that nothing is written. Returns whether it may also be asked what
 * a stream is, which whoever writes can do without.
 */
export const rightsScript = redisScript(`
local function isDenied(answer)
  local why = type(answer) == 'table' and answer.err or ''
  return string.find(why, 'NOPERM') or string.find(why, "can't run") or string.find(why, "can't access")
end
for _, words in ipairs({
  { 'XADD', KEYS[1], '!', 'a', 'b' }, { 'EXISTS', KEYS[1] },
  { 'SET', KEYS[2], '', 'PX', '!' }, { 'GET', KEYS[2] },
  { 'SET', KEYS[3], '', 'PX', '!' }, { 'MGET', KEYS[3] },
}) do
  if isDenied(redis.pcall(unpack(words))) then
    return redis.error_reply('NOPERM the user may not use ' .. words[1] .. ' with the key ' .. words[2])
  end
end
return isDenied(redis.pcall('XINFO', 'STREAM', KEYS[1])) and 0 or 1
`);

/**
 * Adds entries to a stream, each once. Redis runs it whole and alone.
 *
 * `KEYS`: the stream, its life, then of each stream of records what is known of it. `ARGV`: `maxlen` or 0, for how long that is
 * known in milliseconds, a name for a life that begins, 1 to look at the stream or 0, what the writer saw when it looked last (the
 * name of that life, the stream's first id, its last one, how many entries it had ever got; or four times nothing), the count that
 * it was told last, the name of each stream of records, then of each entry the number of its stream, `seq`, `part`, `parts` and
 * value. Returns the life's name, how many entries the script had added in it before, how many it has now, and what was seen: both
 * ids and the entries ever. They are missing where it was not looked at, or Redis does not tell (before 7).
 *
 * A life is `name count`, and begins with a stream that is made. So whoever writes learns that the stream was lost, whoever has made
 * it again: the name is another one, or the count is less than it was.
 *
 * Another program may have made the stream again, and then there is one. It is another one when it has got fewer entries ever, or
 * lower ids, than was seen; or when nothing is left from before that id, and fewer were removed than there had been.
 * Trimming removes entries and leaves what was ever there. It is looked at now and then: the answer has the first and the last
 * entry in it, which may be large. A count that went back is an older copy of the stream, of which the writer learns by that.
 *
 * What is known is `seq part parts` of the last entry, so that a record of which some parts are there is continued. A record
 * that is split in another way than before is written whole again: its first parts are none of the others'. Known is also
 * written where nothing is added: `WAIT` waits for the latest write of a connection, and needs one.
 *
 * An error comes before anything is written: a stream that is none, or memory that is full when the script begins.
 */
export const addScript = redisScript(`
local stream, maxlen, rememberMs, names = KEYS[1], ARGV[1], ARGV[2], #KEYS - 2

local function look()
  local answer = redis.pcall('XINFO', 'STREAM', stream)
  local seen = {}
  if answer.err then return seen end
  for i = 1, #answer, 2 do seen[answer[i]] = answer[i + 1] end
  return seen
end

local function isBelow(a, b)
  local ms, n = string.match(a, '^(%d+)-(%d+)$')
  local otherMs, otherN = string.match(b, '^(%d+)-(%d+)$')
  -- Numbers of an id may have 20 digits, which those of Lua do not keep.
  if ms ~= otherMs then return #ms < #otherMs or (#ms == #otherMs and ms < otherMs) end
  return #n < #otherN or (#n == #otherN and n < otherN)
end

local function isAnother(first, last, ever)
  local seen = look()
  local now = seen['entries-added']
  if not now then return false end
  if now < ever or isBelow(seen['last-generated-id'], last) then return true end
  local begin, isEmpty = seen['recorded-first-entry-id'], seen['length'] == 0
  if not isEmpty and isBelow(begin, first) then return true end
  return (isEmpty or isBelow(last, begin)) and now - seen['length'] < ever
end

local life, before = string.match(redis.call('GET', KEYS[2]) or '', '^(%S+) (%d+)$')
if not life or (before ~= '0' and redis.call('EXISTS', stream) == 0) then
  life, before = ARGV[3], '0'
elseif ARGV[4] == '1' and ARGV[5] == life and tonumber(ARGV[9]) <= tonumber(before)
  and isAnother(ARGV[6], ARGV[7], tonumber(ARGV[8])) then
  life, before = ARGV[3], '0'
end
local states = {}
if names > 0 then
  local known = redis.call('MGET', unpack(KEYS, 3))
  for i = 1, names do
    local state = { -1, 0, 1 }
    if known[i] then
      local seq, part, parts = string.match(known[i], '^(%d+) (%d+) (%d+)$')
      state = { tonumber(seq), tonumber(part), tonumber(parts) }
    end
    states[i] = state
  end
end

local added = 0
for at = 10 + names, #ARGV, 5 do
  local i, seq, part, parts = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local last = states[i]
  local isWhole = last[2] + 1 == last[3]
  local isKnown = seq < last[1]
    or (seq == last[1] and (isWhole or (parts == last[3] and part <= last[2])))
  if not isKnown then
    local words = { 'XADD', stream }
    if maxlen ~= '0' then
      words[3], words[4], words[5] = 'MAXLEN', '~', maxlen
    end
    words[#words + 1] = '*'
    for _, word in ipairs({ 'stream', ARGV[9 + i], 'seq', ARGV[at + 1] }) do words[#words + 1] = word end
    if parts > 1 then
      for _, word in ipairs({ 'part', ARGV[at + 2], 'parts', ARGV[at + 3] }) do words[#words + 1] = word end
    end
    words[#words + 1] = 'value'
    words[#words + 1] = ARGV[at + 4]
    redis.call(unpack(words))
    states[i] = { seq, part, parts }
    added = added + 1
  end
end

for i = 1, names do
  local state = states[i]
  -- Redis writes large numbers of Lua with 17 digits at most.
  local text = string.format('%.0f %d %d', state[1], state[2], state[3])
  redis.call('SET', KEYS[i + 2], text, 'PX', rememberMs)
end
local count = string.format('%.0f', tonumber(before) + added)
redis.call('SET', KEYS[2], life .. ' ' .. count)
local seen = ARGV[4] == '1' and look() or {}
if not seen['entries-added'] then return { life, before, count } end
local ids = { seen['recorded-first-entry-id'], seen['last-generated-id'] }
return { life, before, count, ids[1], ids[2], string.format('%.0f', seen['entries-added']) }
`);
