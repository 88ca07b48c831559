import type { SinkRecord } from '@spillway/core';
import type { TestContext } from 'vitest';
import { AwsEmulator, awsEnv } from '../../../aws/test/support/aws-emulator.ts';
import { S3Engine } from '../../../aws/test/support/s3-engine.ts';
import { SqsEngine } from '../../../aws/test/support/sqs-engine.ts';
import { StrictS3 } from '../../../aws/test/support/strict-s3.ts';
import { joinEntries } from '../../../kafka/test/support/join-entries.ts';
import { hasKafka, KafkaMock, needsKafka, type ReadEntry } from '../../../kafka/test/support/kafka-mock.ts';
import { hasNats, NatsServer, needsNats } from '../../../nats/test/support/nats-server.ts';
import { readRecords } from '../../../nats/test/support/read-stream.ts';
import {
  hasPostgres,
  needsPostgres,
  PostgresServer,
  removeTemplate,
} from '../../../postgres/test/support/postgres-server.ts';
import { recordsOf as rowsOf } from '../../../postgres/test/support/read-table.ts';
import { hasRedis, needsRedis, RedisServer } from '../../../redis/test/support/redis-server.ts';
import { recordsOf as entriesOf } from '../../../redis/test/support/stream-engine.ts';

/** An engine that runs, of a test's own and empty, as a tap of a gateway sees it. */
export interface TappedEngine {
  /** What the tap writes to. */
  readonly url: string;
  /** What a reader finds now, in the order in which it does: what is there twice comes twice. */
  records(): Promise<readonly SinkRecord[]>;
  /** From then on it is away: killed, or of an emulator all its connections are, until `heal`. What it has it keeps. */
  fail(): Promise<void> | void;
  heal(): Promise<void>;
  remove(): Promise<void>;
}

/** A kind of engine, and how to start one here. */
export interface TappedEngineKind {
  readonly name: string;
  /** Whether this machine has it. */
  readonly isHere: boolean;
  /** Skips a test where it has not; where `LACKS_FAIL` is set, that is a failure. */
  readonly needs: (context: Pick<TestContext, 'skip'>) => void;
  /** What the gateway needs in its environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly start: () => Promise<TappedEngine>;
}

const always = (): void => undefined;

/** All engines of taps. Kafka, SQS and S3 are emulators, as the pages of these engines say. */
export const tappedEngines: readonly TappedEngineKind[] = [
  { name: 'Redis', isHere: hasRedis, needs: needsRedis, start: startRedis },
  { name: 'NATS', isHere: hasNats, needs: needsNats, start: startNats },
  { name: 'PostgreSQL', isHere: hasPostgres, needs: needsPostgres, start: startPostgres },
  { name: 'Kafka', isHere: hasKafka, needs: needsKafka, start: startKafka },
  { name: 'S3', isHere: true, needs: always, env: awsEnv, start: startS3 },
  { name: 'SQS', isHere: true, needs: always, env: awsEnv, start: startSqs },
];

async function startRedis(): Promise<TappedEngine> {
  const server = await RedisServer.start(['--appendonly', 'yes', '--appendfsync', 'always']);
  return {
    url: `${server.url}?stream=llm`,
    records: () => entriesOf(server, 'llm'),
    ...killable(server),
  };
}

async function startNats(): Promise<TappedEngine> {
  const server = await NatsServer.start();
  return {
    url: `${server.url}/llm?create=1`,
    records: () => readRecords(server, 'llm'),
    ...killable(server),
  };
}

async function startPostgres(): Promise<TappedEngine> {
  const server = await PostgresServer.start();
  return {
    url: `${server.url}?sslmode=disable`,
    records: () => rowsOf(server, 'spillway_records'),
    ...killable(server),
    async remove() {
      await server.remove();
      removeTemplate();
    },
  };
}

async function startKafka(): Promise<TappedEngine> {
  const partitions = 3;
  const mock = await KafkaMock.start();
  const topic = await mock.makeTopic(partitions);
  const entries: ReadEntry[] = [];
  return {
    url: `kafka://${mock.brokers.join(',')}/${topic}`,
    async records() {
      entries.push(...(await mock.read(topic, partitions)));
      return joinEntries(entries);
    },
    async fail() {
      await mock.command('down -1');
    },
    async heal() {
      await mock.command('up -1');
    },
    remove: () => mock.end(),
  };
}

async function startS3(): Promise<TappedEngine> {
  const store = await StrictS3.start();
  const engine = await S3Engine.create(store.port);
  return emulated(engine, store);
}

async function startSqs(): Promise<TappedEngine> {
  const emulator = await AwsEmulator.start();
  const engine = await SqsEngine.create(emulator);
  return emulated(engine, emulator);
}

function killable(
  server: NatsServer | PostgresServer | RedisServer,
): Pick<TappedEngine, 'fail' | 'heal' | 'remove'> {
  return {
    fail: () => server.kill(),
    heal: () => server.start(),
    remove: () => server.remove(),
  };
}

function emulated(engine: S3Engine | SqsEngine, emulator: AwsEmulator | StrictS3): TappedEngine {
  return {
    url: engine.url,
    records: () => engine.records(),
    fail: () => engine.fail(),
    heal: () => engine.heal(),
    async remove() {
      await engine.remove();
      await emulator.close();
    },
  };
}
