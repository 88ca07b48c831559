import { sinkRules } from '@spillway/core/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';
import { AwsEmulator } from './support/aws-emulator.ts';
import { SqsEngine } from './support/sqs-engine.ts';

let emulator: AwsEmulator;

beforeAll(async () => {
  emulator = await AwsEmulator.start();
});

afterAll(async () => {
  await emulator.close();
});

describe.each([
  ['a FIFO queue', 20, {}],
  ['a FIFO queue and split records', 5, { maxEntryBytes: 1024 }],
])('of %s', (_name, steps, options) => {
  for (const { check, name, number } of sinkRules(() => SqsEngine.create(emulator, options), {
    steps,
    deadlineMs: 50_000,
  })) {
    // Of parts it would be ten thousand messages.
    if ('maxEntryBytes' in options && name === 'two thousand records of one batch') continue;
    test(`promise 15: SQS, sink rule ${number}: ${name}`, check);
  }
});

// The others need a queue that knows what comes again.
const rulesOfStandard = new Set([1, 3, 5, 8, 9]);

describe('of a standard queue', () => {
  const openEngine = (): Promise<SqsEngine> => SqsEngine.create(emulator, { isFifo: false });
  for (const { check, name, number } of sinkRules(openEngine, { steps: 5, deadlineMs: 50_000 })) {
    if (rulesOfStandard.has(number)) test(`promise 15: SQS, sink rule ${number}: ${name}`, check);
  }
});

test('promise 15: SQS takes no record with an id that comes back as something else', async () => {
  await expectOddRefused(await SqsEngine.create(emulator, {}));
});
