import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import * as coalesce from '../../src/format/coalesce.ts';
import * as openaiChat from '../../src/format/openai-chat.ts';
import * as memoryLimitStore from '../../src/limit/memory-limit-store.ts';
import * as runCodec from '../../src/format/run-codec.ts';
import * as sse from '../../src/format/sse.ts';
import * as core from '../../src/index.ts';
import * as testing from '../../src/testing/index.ts';
import * as virtualClock from '../../src/testing/virtual-clock.ts';
import * as websocket from '../../src/source/websocket.ts';
import { complaintsOf, modulesIn, modulesOf } from '../support/snippets.ts';

const coreFolder = fileURLToPath(new URL('../..', import.meta.url));

/** What a snippet need not import. */
const exported: Readonly<Record<string, object>> = {
  '@spillway/core': core,
  '@spillway/core/format/coalesce': coalesce,
  '@spillway/core/format/openai-chat': openaiChat,
  '@spillway/core/format/run-codec': runCodec,
  '@spillway/core/format/sse': sse,
  '@spillway/core/limit/memory-limit-store': memoryLimitStore,
  '@spillway/core/source/websocket': websocket,
  '@spillway/core/testing': testing,
  '@spillway/core/testing/virtual-clock': virtualClock,
};

/** What snippets take from the program around them. */
const surroundings = `
  type EventRun = import('@spillway/core/format/sse').EventRun;
  interface Delta { readonly kind: string; readonly text: string }
  declare const channel: import('@spillway/core').Channel<any>;
  declare const chunk: Uint8Array;
  declare const chunks: AsyncIterable<string>;
  declare const client: unknown;
  declare const connectionCredit: import('@spillway/core').Credit;
  declare const createWriteStream: typeof import('node:fs').createWriteStream;
  declare const deltas: ReadableStream<string>;
  declare const inbox: import('@spillway/core').Reader<Uint8Array>;
  declare const gauge: { set(value: number): void };
  declare const file: { append(record: Uint8Array): Promise<void> };
  declare const clock: Parameters<typeof import('@spillway/core/limit/memory-limit-store').createMemoryLimitStore>[0]['clock'];
  declare const openMyLimits: (table: object) => import('@spillway/core').LimitStore;
  declare const signal: AbortSignal;
  declare const log: { append(chunks: readonly unknown[]): Promise<void> };
  declare const merge: (first: string, second: string) => string | undefined;
  declare const model: AsyncIterable<string>;
  declare const offset: number;
  declare const openMyEngine: () => import('@spillway/core/testing').SinkEngine;
  declare const openMySink: (table: object) => import('@spillway/core').RecordSink;
  declare const openMyTable: () => Promise<{
    readAll(): Promise<import('@spillway/core').SinkRecord[]>;
    disconnect(): Promise<void>;
    connect(): Promise<void>;
  }>;
  interface Queue {
    addAll(records: readonly import('@spillway/core').SinkRecord[]): Promise<void>;
    disconnect(): Promise<void>;
    connect(): Promise<void>;
  }
  declare const queue: Queue;
  declare const openMyQueue: () => Promise<Queue>;
  declare const openMySource: (
    queue: Queue,
    options: { name: string },
  ) => import('@spillway/core/source/record-source').RecordSource;
  declare const index: {
    put(records: readonly import('@spillway/core').SinkRecord[], signal: AbortSignal): Promise<void>;
    write(records: readonly import('@spillway/core').SinkRecord[], signal: AbortSignal): Promise<void>;
  };
  declare const openMyStore: () => import('@spillway/core').Store<string>;
  declare const openRedisStore: (client: unknown, name: string) => import('@spillway/core').Store<string>;
  declare const randomUUID: () => string;
  declare const records: AsyncIterable<Uint8Array>;
  declare const reader: import('@spillway/core').Reader<string>;
  declare const render: (chunk: Uint8Array | string) => Promise<void>;
  declare const replenisher: import('@spillway/core').Replenisher;
  declare const response: Response;
  declare const send: (message: object) => void;
  declare const run: EventRun;
  declare const sink: { write(text: string): Promise<void> };
  declare const socket: {
    emit(event: 'grant', amount: import('@spillway/core').CreditAmount): void;
    on(event: 'grant', listener: (amount: import('@spillway/core').CreditAmount) => void): void;
  };
  declare const speaker: import('@spillway/core').Reader<Uint8Array>;
  declare const speechDetector: { onStart?: () => void };
  declare const store: import('@spillway/core').Store<string>;
  declare const test: (name: string, check: () => Promise<void>) => void;
  declare const weigh: (text: string) => number;
  declare const unseen: Set<string>;
  declare const voice: { truncate(offset: number): void };
  declare const words: Iterable<string>;
  declare const write: (record: string) => Promise<void>;
`;

async function allModules(): Promise<Map<string, string>> {
  const paths = await readdir(join(coreFolder, 'src'), { recursive: true });
  const files = [
    'README.md',
    ...paths.filter((path) => path.endsWith('.ts')).map((path) => join('src', path)),
  ];
  return modulesOf(coreFolder, files);
}

const declared = Object.entries(exported).flatMap(([from, all]) =>
  Object.keys(all).map((name) => `declare const ${name}: typeof import('${from}').${name};`),
);

const complaints = (modules: ReadonlyMap<string, string>): Promise<string[]> =>
  complaintsOf(modules, surroundings + declared.join('\n'));

test('every snippet of the README and of a description compiles', async () => {
  const modules = await allModules();
  expect(modules.size).toBeGreaterThan(20);
  expect(await complaints(modules)).toEqual([]);
});

test('what does not compile is noticed: an end that is none of a channel', async () => {
  const text = [
    '/**',
    ' * ```ts',
    " * const end: NonNullable<typeof channel.end> = { state: 'detached' };",
    ' * const offset = channel.end?.offset;',
    ' * ```',
    ' */',
    '',
  ].join('\n');
  const [module = ''] = modulesIn(text).map(({ code }) => code);
  const found = (await complaints(new Map([['wrong.ts', module]]))).join('\n');
  expect(found).toMatch(/^wrong\.ts\(3,\d+\): error TS/m);
  expect(found).toMatch(/^wrong\.ts\(4,\d+\): error TS/m);
});
