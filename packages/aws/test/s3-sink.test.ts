import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { sinkRules } from '@spillway/core/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';
import { AwsEmulator } from './support/aws-emulator.ts';
import { S3Engine } from './support/s3-engine.ts';
import { StrictS3 } from './support/strict-s3.ts';

let emulator: AwsEmulator;
let store: StrictS3;

beforeAll(async () => {
  emulator = await AwsEmulator.start();
  store = await StrictS3.start(7);
  const client = new S3Client({ endpoint: emulator.url, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: 'records' }));
  client.destroy();
});

afterAll(async () => {
  await emulator.close();
  await store.close();
});

// Of the emulator the sink finds out that it writes over what it was told not to.
describe.each([
  ['a store with conditions', () => S3Engine.create(store.port)],
  ['a store without', () => S3Engine.create(emulator.port)],
  ['small objects', () => S3Engine.create(store.port, '&maxObjectBytes=16384')],
])('in %s', (_name, openEngine) => {
  for (const { check, name, number } of sinkRules(openEngine, { steps: 15, deadlineMs: 50_000 })) {
    test(`promise 15: S3, sink rule ${number}: ${name}`, check);
  }
});

test('promise 15: S3 takes no record with an id that comes back as something else', async () => {
  await expectOddRefused(await S3Engine.create(store.port));
});
