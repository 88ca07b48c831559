/**
 * The other half of an audit log: a program of your own reads it, at the pace of an endpoint that takes half a second for
 * each write. One batch is in memory, whatever waits in the log. It may be stopped or killed at any moment, and goes on
 * from where it was.
 *
 *     node examples/05-read-the-audit-log.ts
 *     node examples/05-read-the-audit-log.ts audit.db https://search.example/records
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { copyRecords, type CopyResult } from '@spillway/core/copy-records';
import { openAuditLog } from '@spillway/server/audit/audit-log';
import { openAuditSource } from '@spillway/server/audit/audit-source';

/** Sends an audit log to an endpoint, until the signal is aborted. */
async function forward(path: string, url: string, signal: AbortSignal): Promise<CopyResult> {
  const source = await openAuditSource(path, { name: 'search-index' });
  const sink = {
    async write(records: readonly { stream: string; seq: number; value: Uint8Array }[], stop: AbortSignal) {
      const body = records.map(({ seq, stream, value }) => [stream, seq, Buffer.from(value).toString()]);
      const deadline = AbortSignal.any([stop, AbortSignal.timeout(5000)]);
      const response = await fetch(url, { method: 'POST', body: JSON.stringify(body), signal: deadline });
      await response.arrayBuffer();
      if (!response.ok) throw new Error(`expected the records to be taken, got ${response.status}`);
    },
  };
  try {
    return await copyRecords(source, sink, {
      signal,
      onGap: ({ from, reason, to }) => console.log(`rows ${from} to ${to} are missing: ${reason}`),
      onRetry: ({ error, pauseMs, step }) =>
        console.log(
          `the ${step} again in ${pauseMs} ms: ${error instanceof Error ? error.message : 'unknown'}`,
        ),
    });
  } finally {
    await source.close();
  }
}

/** A log that is written faster than the endpoint takes it, an endpoint that fails sometimes, and a restart. */
async function showItself(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'spillway-example-'));
  const endpoint = new SlowEndpoint();
  const log = await openAuditLog(join(folder, 'audit.db'));
  const writing = (async () => {
    for (let seq = 0; seq < 300; seq += 10) {
      const records = Array.from({ length: 10 }, (_, index) => ({
        stream: 'answer',
        seq: seq + index,
        value: Buffer.from(`{"text":"token ${seq + index}"}`),
      }));
      await log.write(records, AbortSignal.timeout(5000));
      await sleep(50);
    }
  })();
  const target = await endpoint.listen();
  for (const count of [20, 300]) {
    const stop = new AbortController();
    const forwarding = forward(join(folder, 'audit.db'), target, stop.signal);
    await endpoint.has(count);
    stop.abort();
    const { records } = await forwarding;
    console.log(
      `stopped when ${endpoint.count} were there, after ${records} were acknowledged by this source`,
    );
  }
  await writing;
  await log.close();
  await endpoint.close();
  await rm(folder, { recursive: true });
  console.log(`The endpoint has ${endpoint.count}, each once: ${endpoint.isWhole}`);
}

/** Takes half a second for each write, and refuses the second one. */
class SlowEndpoint {
  readonly #kept = new Map<string, string>();
  readonly #server: Server;
  #writes = 0;

  constructor() {
    this.#server = createServer((request, response) => {
      void (async () => {
        const records = (await json(request)) as [stream: string, seq: number, value: string][];
        await sleep(500);
        this.#writes += 1;
        response.statusCode = this.#writes === 2 ? 503 : 200;
        // A record that comes again replaces itself: its name is its id.
        for (const [stream, seq, value] of records) {
          if (response.statusCode === 200) this.#kept.set(`${stream}/${seq}`, value);
        }
        response.end();
      })();
    });
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('expected a port');
    return `http://127.0.0.1:${address.port}/records`;
  }

  async has(count: number): Promise<void> {
    while (this.#kept.size < count) await sleep(20);
  }

  get count(): number {
    return this.#kept.size;
  }

  get isWhole(): boolean {
    return Array.from({ length: this.count }, (_, seq) => seq).every(
      (seq) => this.#kept.get(`answer/${seq}`) === `{"text":"token ${seq}"}`,
    );
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}

const [path, url] = process.argv.slice(2);
if (path !== undefined && url !== undefined) {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => stop.abort());
  await forward(path, url, stop.signal);
} else await showItself();
