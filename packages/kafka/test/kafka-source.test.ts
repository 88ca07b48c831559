import { sourceRules } from '@spillway/core/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { hasKafka, KafkaMock, needsKafka } from './support/kafka-mock.ts';
import { KafkaSourceEngine } from './support/kafka-source-engine.ts';

let mock: KafkaMock | undefined;

beforeAll(async () => {
  if (hasKafka) mock = await KafkaMock.start();
});

afterAll(async () => {
  await mock?.end();
});

describe.each([
  ['of one partition', 1, undefined],
  ['of three partitions, in parts', 3, 1024],
])('records %s', (_name, partitions, maxEntryBytes) => {
  const openEngine = async (): Promise<KafkaSourceEngine> => {
    if (mock === undefined) throw new Error('expected a mock that runs');
    return KafkaSourceEngine.start(mock, partitions, maxEntryBytes);
  };

  for (const { number, name, check } of sourceRules(openEngine, { steps: 50, deadlineMs: 30_000 })) {
    test(`promise 15: source rule ${number}: ${name}`, async (context) => {
      needsKafka(context);
      await check(context);
    });
  }
});
