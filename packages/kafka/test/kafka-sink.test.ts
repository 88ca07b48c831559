import { sinkRules } from '@spillway/core/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';
import { hasKafka, KafkaMock, needsKafka } from './support/kafka-mock.ts';
import { KafkaSinkEngine } from './support/kafka-sink-engine.ts';

let mock: KafkaMock | undefined;

beforeAll(async () => {
  if (hasKafka) mock = await KafkaMock.start();
});

afterAll(async () => {
  await mock?.end();
});

describe.each([
  ['whole', undefined],
  ['in parts', 1024],
])('records %s', (_name, maxEntryBytes) => {
  const openEngine = async (): Promise<KafkaSinkEngine> => {
    if (mock === undefined) throw new Error('expected a mock that runs');
    return KafkaSinkEngine.start(mock, maxEntryBytes);
  };

  for (const { number, name, check } of sinkRules(openEngine, { deadlineMs: 30_000 })) {
    test(`promise 15: sink rule ${number}: ${name}`, async (context) => {
      needsKafka(context);
      await check(context);
    });
  }
});

test('promise 15: Kafka takes no record with an id that comes back as something else', async (context) => {
  needsKafka(context);
  if (mock === undefined) throw new Error('expected a mock that runs');
  await expectOddRefused(await KafkaSinkEngine.start(mock, undefined));
});
