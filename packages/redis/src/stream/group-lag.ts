import { shownAddress } from '../connection/redis-address.ts';
import { RedisFailure } from '../connection/redis-failure.ts';
import { RedisLink, type RedisLinkOptions, redisScript } from '../connection/redis-link.ts';

/** How far a group is behind. */
export interface AskedLag {
  /** Entries that were not given, or not acknowledged: so many at most. `undefined`: Redis before 7 does not count them. */
  readonly entries: number | undefined;
  /** The age of the oldest of them, by its id. */
  readonly ms: number;
}

/**
 * `KEYS`: the stream. `ARGV`: the group. Returns nothing when there is no such group, or the entries that are pending and that are
 * not given yet (-1: unknown), the id of the oldest of these, and the time.
 *
 * Redis counts entries that were trimmed as not given, and does not count at all behind one that was deleted: then all that are
 * there are the bound.
 */
const lagScript = redisScript(`
local stream = KEYS[1]
local function fields(list)
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end
local groups, place = redis.pcall('XINFO', 'GROUPS', stream), nil
if groups.err then return {} end
for _, each in ipairs(groups) do
  local group = fields(each)
  if group['name'] == ARGV[1] then place = group end
end
if not place then return {} end
local length = redis.call('XLEN', stream)
local unread, lag = length, place['lag']
if lag == nil then unread = -1 elseif lag then unread = math.min(lag, length) end
local oldest = redis.call('XPENDING', stream, ARGV[1])[2] or ''
local next = redis.call('XREAD', 'COUNT', 1, 'STREAMS', stream, place['last-delivered-id'])
if not next then
  unread = 0
elseif oldest == '' then
  oldest = next[1][2][1][1]
end
local time = redis.call('TIME')
return { place['pending'], unread, oldest, time[1] .. string.format('%03d', math.floor(time[2] / 1000)) }
`);

/** Asks for the lag of a group, by a connection of its own: several may ask at once. */
export async function askGroup(
  options: RedisLinkOptions,
  key: string,
  group: string,
  signal: AbortSignal,
): Promise<AskedLag> {
  const link = new RedisLink(options);
  try {
    const call = { script: lagScript, keys: [key], words: [group] };
    const reply = await link.use(signal, (client) => link.run(client, call, signal));
    const [pending, unread, oldest, nowMs] = (reply as readonly (Buffer | string)[]).map(String);
    if (pending === undefined)
      throw new RedisFailure(
        `${shownAddress(options.address)}: the stream ${key} has no group ${group}: whoever reads makes it, or XGROUP CREATE ${key} ${group} 0 MKSTREAM`,
      );
    // An id begins with the milliseconds at which its entry was added.
    const ms = oldest === '' ? 0 : Math.max(0, Number(nowMs) - Number.parseInt(oldest ?? '', 10));
    return { entries: unread === '-1' ? undefined : Number(pending) + Number(unread), ms };
  } finally {
    link.close();
  }
}
