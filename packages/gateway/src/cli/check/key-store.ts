import { joinApiKeys } from '../../config/read-api-keys.ts';
import type { Settings } from '../../config/load.ts';
import { keyTextOptions, textOf } from '../../keys/redis-key-store.ts';
import type { Finding } from './finding.ts';

const check = 'key store';

/** Whether keys can be read where `apiKeysStore` says, and how many there are. Nothing is changed there. */
export async function checkKeyStore({
  apiKeys,
  keyStore,
}: Pick<Settings, 'apiKeys' | 'keyStore'>): Promise<Finding[]> {
  if (keyStore === undefined) return [];
  // Its client is loaded only where it is needed.
  const { openRedisText, readRedisFacts } = await import('@spillway/redis');
  try {
    const {
      address,
      keepsChanges,
      maxmemoryPolicy,
      version = 'of no known version',
    } = await readRedisFacts(keyStore);
    const text = openRedisText({ ...keyTextOptions(keyStore), deadlineMs: 5000 });
    const found: Finding[] = [];
    try {
      const kept = await text.read(new AbortController().signal);
      const keys = joinApiKeys([], { name: address, text: textOf(text, kept) });
      joinApiKeys(apiKeys, { name: 'apiKeysStore', text: textOf(text, kept) });
      const has = `${keys.length} ${keys.length === 1 ? 'key' : 'keys'}`;
      found.push({ check, status: 'ok', message: `${address} answers: Redis ${version}, ${has}.` });
      if (kept === undefined)
        found.push({
          check,
          status: 'warn',
          message:
            'It has no keys, and who sends a key that is not known elsewhere gets 503: "spillway keys create" makes the first one.',
        });
    } finally {
      text.close();
    }
    if (maxmemoryPolicy !== undefined && maxmemoryPolicy !== 'noeviction')
      found.push({
        check,
        status: 'warn',
        message: `Its maxmemory-policy is ${maxmemoryPolicy}: it may remove all keys. Set it to noeviction.`,
      });
    if (keepsChanges === false)
      found.push({
        check,
        status: 'warn',
        message: 'It keeps no changes on a disk: a restart of it loses all keys. Set appendonly to yes.',
      });
    return found;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return [{ check, status: 'fail', message: `Keys cannot be read there: ${message}` }];
  }
}
