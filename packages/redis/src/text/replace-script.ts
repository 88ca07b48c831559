import { redisScript } from '../connection/redis-link.ts';

/**
 * Replaces a text, if it is still the one that was read. `KEYS`: a hash. `ARGV`: the version that was read, empty for none; the
 * version of the new text, which nobody else makes; the new text. Returns 1 if the new text was kept, and 0 if there is another one.
 *
 * The hash has `text`, its `version`, and `made`: the last versions, the newest first, each with a space behind it. Who lost the
 * answer asks again with the same words, also after others have changed the text since: a change is made at most once.
 */
export const replaceScript = redisScript(`
local most = 100
local found = redis.call('HMGET', KEYS[1], 'version', 'made')
local version, made = found[1] or '', found[2] or ''
if string.find(made, ARGV[2] .. ' ', 1, true) then return 1 end
if version ~= ARGV[1] then return 0 end
-- One command: all of it is written, or nothing.
redis.call('HSET', KEYS[1], 'text', ARGV[3], 'version', ARGV[2],
  'made', string.sub(ARGV[2] .. ' ' .. made, 1, most * (#ARGV[2] + 1)))
return 1
`);
