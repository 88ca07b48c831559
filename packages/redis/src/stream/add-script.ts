import { redisScript } from '../connection/redis-link.ts';

/**
 * Adds entries to a stream, each once. Redis runs it whole and alone.
 *
 * `KEYS`: the stream, then of each stream of records what is known of it. `ARGV`: `maxlen` or 0, for how long that is known in
 * milliseconds, the name of each stream of records, then of each entry the number of its stream, `seq`, `part`, `parts` and value.
 *
 * What is known is `seq part parts` of the last entry, so that a record of which some parts are there is continued. A record
 * that is split in another way than before is written whole again: its first parts are none of the others'. Known is also
 * written where nothing is added: `WAIT` waits for the latest write of a connection, and needs one.
 *
 * An error comes before anything is written: a stream that is none, or memory that is full when the script begins.
 */
export const addScript = redisScript(`
local stream, maxlen, rememberMs, names = KEYS[1], ARGV[1], ARGV[2], #KEYS - 1
local states, changed = {}, {}
if names > 0 then
  local known = redis.call('MGET', unpack(KEYS, 2))
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
for at = 3 + names, #ARGV, 5 do
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
    for _, word in ipairs({ 'stream', ARGV[2 + i], 'seq', ARGV[at + 1] }) do words[#words + 1] = word end
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
  redis.call('SET', KEYS[i + 1], text, 'PX', rememberMs)
end
return added
`);
