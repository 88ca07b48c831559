import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { temporaryFolder } from './prometheus.ts';

/** A record as the engine was sent it. */
export interface KeptRecord {
  readonly stream: string;
  readonly seq: number;
  readonly value: string;
}

interface Request {
  readonly password: string;
  readonly write?: readonly KeptRecord[];
  readonly group?: string;
}

/**
 * An engine of our own, over a real socket: a line of JSON asks, another one answers. Its package has copies of the classes
 * of errors, as one has that is installed elsewhere than the gateway.
 */
export class SmallEngine {
  /** What it has, each record once. */
  readonly records = new Map<string, KeptRecord>();
  durability: 'fsync' | 'memory' | 'replicated' = 'fsync';
  password = '';
  /** Whether it removes what is old by itself. */
  isLossy = false;
  answerMs = 0;
  /** Whether it never takes that record. */
  refuses: (record: KeptRecord) => boolean = () => false;
  /** Entries, and milliseconds, that the group `indexer` is behind. */
  lag: readonly [number, number] = [0, 0];
  /** How often it was asked for that. */
  lagQuestions = 0;
  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();
  #port = 0;

  /** Reserves a port, so that its URL is known while it is down. */
  static async create(): Promise<SmallEngine> {
    const engine = new SmallEngine();
    await engine.start();
    onTestFinished(() => engine.stop());
    return engine;
  }

  get url(): string {
    return `kafka://127.0.0.1:${this.#port}/llm`;
  }

  async start(): Promise<void> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => undefined);
      let text = '';
      socket.setEncoding('utf8').on('data', (data: string) => {
        text += data;
        if (!text.endsWith('\n')) return;
        const answer = `${JSON.stringify(this.#answer(JSON.parse(text) as Request))}\n`;
        setTimeout(() => socket.end(answer), this.answerMs);
      });
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** The records of each stream, in order. */
  streams(): Map<string, { readonly kind: string; readonly [member: string]: unknown }[]> {
    const found = new Map<string, { kind: string }[]>();
    for (const { stream, value } of this.records.values())
      found.set(stream, [...(found.get(stream) ?? []), JSON.parse(value) as { kind: string }]);
    return found;
  }

  #answer({ group, password, write = [] }: Request): object {
    if (password !== this.password) return { error: 'wrong password' };
    if (group !== undefined) this.lagQuestions += 1;
    const refused = write.flatMap((record, index) => (this.refuses(record) ? [index] : []));
    for (const [index, record] of write.entries())
      if (!refused.includes(index)) this.records.set(`${record.stream} ${record.seq}`, record);
    const { durability, isLossy, lag } = this;
    return {
      durability,
      isLossy,
      refused,
      lag: group === undefined || group === 'indexer' ? lag : undefined,
    };
  }
}

/** A folder in which the package of the small engine is installed, by the name of Kafka's. */
export function folderWithEngine(): string {
  const folder = temporaryFolder();
  const place = join(folder, 'node_modules/@spillway/kafka');
  mkdirSync(place, { recursive: true });
  const about = { name: '@spillway/kafka', version: '0.0.0', type: 'module', exports: './index.js' };
  writeFileSync(join(place, 'package.json'), JSON.stringify(about));
  writeFileSync(join(place, 'index.js'), source);
  return folder;
}

/** Node's arguments for a gateway beside which no package of an engine is installed. */
export const withoutEngines = ['--import', fileURLToPath(new URL('without-engines.ts', import.meta.url))];

const source = `
import { connect } from 'node:net';

class SpillwayError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'SpillwayError';
    this.code = code;
  }
}

const failed = (message) => new SpillwayError('sink_failed', message);

export async function openKafkaSink({ url, password, openTimeoutMs }) {
  const { hostname, port, password: inUrl, searchParams } = new URL(url);
  for (const name of searchParams.keys())
    throw new SpillwayError('invalid_option', 'url: expected no parameter, got ' + name + '.');
  const ask = (question, signal) => new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    const end = (error) => {
      socket.destroy();
      signal.removeEventListener('abort', abort);
      reject(error);
    };
    const abort = () => end(signal.reason);
    signal.addEventListener('abort', abort);
    if (signal.aborted) return abort();
    let text = '';
    socket.setEncoding('utf8');
    socket.on('error', (error) => end(failed(error.code)));
    socket.on('data', (data) => (text += data));
    socket.on('close', () => {
      if (!text.endsWith('\\n')) return end(failed('the connection was closed'));
      signal.removeEventListener('abort', abort);
      const answer = JSON.parse(text);
      if (answer.error) reject(Object.assign(failed(answer.error), { isDenied: answer.error === 'wrong password' }));
      else resolve(answer);
    });
    socket.write(JSON.stringify({ ...question, password: password ?? decodeURIComponent(inUrl) }) + '\\n');
  });
  let { durability, isLossy } = await ask({}, AbortSignal.timeout(openTimeoutMs)).catch((error) => {
    throw error.name === 'TimeoutError' ? failed('it did not answer') : error;
  });
  let isClosed = false;
  return {
    address: hostname + ':' + port,
    facts: {
      engine: 'Small 1.0',
      get durability() {
        return 'It says that it is ' + durability + '.';
      },
      duplicates: 'It knows each record for ever.',
      warnings: durability === 'memory' ? ['Its memory is small.'] : [],
    },
    get durability() {
      return durability;
    },
    isLossy,
    async write(records, signal) {
      if (isClosed) throw new SpillwayError('sink_closed', 'The sink is closed.');
      signal.throwIfAborted();
      const write = records.map(({ stream, seq, value }) => ({ stream, seq, value: Buffer.from(value).toString() }));
      const answer = await ask({ write }, signal);
      ({ durability } = answer);
      if (answer.refused.length === 0) return;
      const refused = answer.refused.map((index) => ({ record: records[index], reason: 'it breaks the schema' }));
      throw Object.assign(new SpillwayError('records_refused', 'Some are refused.'), { refused });
    },
    async lagOf(group, signal) {
      const { lag } = await ask({ group }, signal);
      if (lag === undefined) throw failed('no such group: ' + group);
      return { entries: lag[0], ms: lag[1] };
    },
    async close() {
      isClosed = true;
    },
  };
}
`;
