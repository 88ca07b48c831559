import { ErrorReply } from '@redis/client';
import type { Durability } from '@spillway/core';
import { RedisFailure } from './redis-failure.ts';
import { RefusedCall } from './redis-link.ts';

/** What a Redis is worth, as it is configured. */
export interface RedisStanding {
  /** Such as `Redis 7.0.15`. */
  readonly engine: string;
  readonly version: readonly [major: number, minor: number];
  readonly durability: Durability;
  /** Why, in a sentence. */
  readonly reason: string;
  readonly warnings: readonly string[];
  /** Whether a full Redis removes keys, and so the stream, to make room. */
  readonly evictsStreams: boolean;
  /** The largest value that it takes, in bytes. */
  readonly maxValueBytes: number;
}

/** What is asked of it. */
export interface StandingWish {
  /** The replicas that a write waits for. */
  readonly wait: number;
  /** Sentinels name the master, so that another one may come. */
  readonly hasSentinels: boolean;
  /** The oldest entries are removed. */
  readonly isTrimmed: boolean;
}

type Ask = (words: readonly string[]) => Promise<unknown>;

/**
 * Asks a Redis what a write to it is worth. What it does not tell is not claimed.
 *
 * @throws {RedisFailure} when it is a replica, which takes no writes.
 */
export async function askStanding(ask: Ask, where: string, wish: StandingWish): Promise<RedisStanding> {
  const setting = async (name: string): Promise<string | undefined> => {
    const reply = await ask(['CONFIG', 'GET', name]).catch(unlessRefused);
    return Array.isArray(reply) && reply[1] !== undefined ? String(reply[1]) : undefined;
  };
  const [info, appendOnly, appendFsync, pausesFsync, maxBulk] = await Promise.all([
    ask(['INFO']).catch(unlessRefused),
    setting('appendonly'),
    setting('appendfsync'),
    setting('no-appendfsync-on-rewrite'),
    setting('proto-max-bulk-len'),
  ]);
  const facts = new Map(
    (typeof info === 'string' ? info : '')
      .split(/\r?\n/)
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  );
  if (facts.get('role') === 'slave')
    throw new RedisFailure(`${where}: it is a replica, which takes no writes`);
  const replicas = Number(facts.get('connected_slaves') ?? 0);
  const version = facts.get('redis_version') ?? '';
  const valkey = facts.get('valkey_version');
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const disk = diskOf(appendOnly, appendFsync, pausesFsync);
  const { hasSentinels, isTrimmed, wait } = wish;
  const warnings: string[] = [];
  let durability: Durability = 'memory';
  let reason = disk.reason;
  // A failover by sentinels leaves what is only on the old master's disk.
  if (disk.isSynced && !hasSentinels) durability = 'fsync';
  else if (wait > 0) {
    durability = 'replicated';
    reason = `wait=${wait}: so many replicas have a write before it counts`;
  } else if (disk.isSynced)
    reason = 'sentinels may make a replica the master that has not got the latest writes yet';
  if (durability === 'memory' && disk.advice !== undefined) warnings.push(disk.advice);
  if (wait === 0 && (hasSentinels || replicas > 0))
    warnings.push(
      'Replicas get writes later: a failover loses what the new master has not got, also what was acknowledged. wait=1 in the URL waits for one of them.',
    );
  if (wait > replicas && info !== undefined)
    warnings.push(`wait=${wait}, but ${replicas} replicas are connected: writes fail until there are more.`);
  const policy = facts.get('maxmemory_policy');
  const maxMemory = Number(facts.get('maxmemory') ?? 0);
  if (maxMemory > 0 && policy !== undefined && policy !== 'noeviction')
    warnings.push(
      `maxmemory-policy is ${policy}: a full Redis removes keys without a word. Set it to noeviction.`,
    );
  if (maxMemory === 0 && info !== undefined && !isTrimmed)
    warnings.push(
      'maxmemory is 0, and nothing removes old entries: the stream grows until the machine has no memory. Set maxmemory, and remove what is old with XTRIM.',
    );
  return {
    engine: valkey === undefined ? `Redis ${version}`.trim() : `Valkey ${valkey}`,
    version: [major, minor],
    durability,
    reason: `${reason}.`,
    warnings,
    // The others remove keys that expire, and a stream does not.
    evictsStreams: maxMemory > 0 && policy?.startsWith('allkeys') === true,
    maxValueBytes: Number(maxBulk ?? 536_870_912),
  };
}

/** What the settings of its log on the disk say. */
function diskOf(
  appendOnly: string | undefined,
  appendFsync: string | undefined,
  pausesFsync: string | undefined,
): { readonly isSynced: boolean; readonly reason: string; readonly advice: string | undefined } {
  const advice =
    'What Redis acknowledges is not on a disk: set appendonly yes and appendfsync always, or wait=1 with a replica.';
  if (appendOnly === undefined || appendFsync === undefined)
    return {
      isSynced: false,
      reason: 'CONFIG GET is not allowed, and what is not known is not claimed',
      advice:
        'CONFIG GET is not allowed, so that this counts as memory. Allow it: ACL SETUSER … +config|get.',
    };
  if (appendOnly !== 'yes')
    return { isSynced: false, reason: 'appendonly is no: a restart loses what is not in a snapshot', advice };
  if (appendFsync !== 'always')
    return {
      isSynced: false,
      reason: `appendfsync is ${appendFsync}: a power failure loses what was acknowledged before it`,
      advice,
    };
  if (pausesFsync === 'yes')
    return {
      isSynced: false,
      reason: 'no-appendfsync-on-rewrite is yes: while the log is rewritten nothing is synced',
      advice: 'Set no-appendfsync-on-rewrite no.',
    };
  return { isSynced: true, reason: 'appendonly is yes and appendfsync is always', advice: undefined };
}

/** Who may not ask does not learn it. A server that is silent is none. */
function unlessRefused(error: unknown): undefined {
  if (!(error instanceof ErrorReply || error instanceof RefusedCall)) throw error;
  return undefined;
}
