import { randomUUID } from 'node:crypto';
import type { SinkRecord } from '@spillway/core';
import type { EngineSink } from '@spillway/core/engine';
import { type SourceEngine, sourceRules } from '@spillway/core/testing';
import { openRedisSink, openRedisSource } from '@spillway/redis';
import { describe, test } from 'vitest';
import { FailingRedis } from './support/failing-redis.ts';
import { needsRedis, type RedisServer } from './support/redis-server.ts';
import { entriesOf } from './support/stream-engine.ts';

const { signal } = new AbortController();
// Not the defaults: a machine that is busy is slow, and is no engine that fails.
const patience = { openTimeoutMs: 60_000, deadlineMs: 60_000 };
const redis = new FailingRedis();

/** A stream of its own, which a sink fills and others trim. */
class FilledStream {
  readonly key = `{${randomUUID()}}source`;
  readonly #redis: RedisServer;
  readonly #maxEntryBytes: number | undefined;
  #sink: EngineSink | undefined;

  constructor(server: RedisServer, maxEntryBytes?: number) {
    this.#redis = server;
    this.#maxEntryBytes = maxEntryBytes;
  }

  async write(records: readonly SinkRecord[]): Promise<void> {
    const size = this.#maxEntryBytes === undefined ? {} : { maxEntryBytes: this.#maxEntryBytes };
    this.#sink ??= await openRedisSink({
      url: `${this.#redis.url}?stream=${this.key}`,
      ...size,
      ...patience,
    });
    await this.#sink.write(records, signal);
  }

  /** Removes the oldest so many records, with all their parts. */
  async trim(count: number): Promise<void> {
    const entries = await entriesOf(this.#redis.port, this.key);
    const lasts = entries.flatMap(({ fields }, index) =>
      Number(fields.get('part') ?? 0) + 1 === Number(fields.get('parts') ?? 1) ? [index] : [],
    );
    const left = entries.length - 1 - (lasts[count - 1] ?? -1);
    await this.#redis.command('XTRIM', this.key, 'MAXLEN', '=', String(left));
  }

  async remove(): Promise<void> {
    await this.#sink?.close();
  }
}

function cutEngine(): SourceEngine {
  const { url, ...failures } = redis.cutOff();
  return engineOf(url, failures, new FilledStream(redis.server));
}

async function killedEngine(): Promise<SourceEngine> {
  const { url, ...failures } = await redis.killed();
  return engineOf(url, failures, new FilledStream(redis.server, 1024));
}

function engineOf(
  url: string,
  failures: Pick<SourceEngine, 'fail' | 'hang' | 'heal' | 'openCount'>,
  stream: FilledStream,
): SourceEngine {
  return {
    ...failures,
    open: (name) => openRedisSource({ url: `${url}?stream=${stream.key}`, name, ...patience }),
    write: (records) => stream.write(records),
    trim: (count) => stream.trim(count),
    remove: () => stream.remove(),
  };
}

describe.each([
  ['cut off', cutEngine, 25],
  ['killed, records split', killedEngine, 8],
])('a Redis that is %s', (name, engine, steps) => {
  for (const { check, name: rule, number } of sourceRules(() => engine(), { steps })) {
    test(`promise 15: Redis, ${name}, source rule ${number}: ${rule}`, async (context) => {
      needsRedis(context);
      await check(context);
    });
  }
});
