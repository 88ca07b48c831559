import { sourceRules } from '@spillway/core/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { AwsEmulator } from './support/aws-emulator.ts';
import { SqsSourceEngine } from './support/sqs-source-engine.ts';

let emulator: AwsEmulator;

beforeAll(async () => {
  emulator = await AwsEmulator.start();
});

afterAll(async () => {
  await emulator.close();
});

/**
 * The suite reads on without acknowledging, and a FIFO queue gives nothing of a stream then. So it runs on a standard queue. What
 * comes again has no order there, in the emulator neither: these checks are done on a FIFO queue, in sqs-fifo.test.ts.
 */
const onFifo = new Set([
  'what is not acknowledged comes again, after a close and after a crash',
  'nothing is lost, and nothing comes again that is done, whatever crashes',
  'a read that waits while its engine fails loses nothing',
  'calls after a close reject',
]);

describe.each([
  ['a standard queue', {}],
  ['a standard queue and split records', { maxEntryBytes: 1024 }],
])('of %s', (_name, options) => {
  const openEngine = (): SqsSourceEngine => new SqsSourceEngine(emulator, { isFifo: false, ...options });
  for (const { check, name, number } of sourceRules(openEngine, { steps: 10, deadlineMs: 50_000 })) {
    // Messages are counted, and parts are some.
    const isOfParts = 'maxEntryBytes' in options && number === 6;
    if (!onFifo.has(name) && !isOfParts) test(`promise 15: SQS, source rule ${number}: ${name}`, check);
  }
});
