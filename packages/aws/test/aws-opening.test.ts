import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openS3Sink, openSqsSink, openSqsSource, readS3Records } from '@spillway/aws';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { AwsEmulator } from './support/aws-emulator.ts';
import { SqsEngine } from './support/sqs-engine.ts';
import { StrictS3 } from './support/strict-s3.ts';

let emulator: AwsEmulator;

beforeAll(async () => {
  emulator = await AwsEmulator.start();
});

afterAll(async () => {
  await emulator.close();
});

const secret = 'hush-hush';

test.each([
  ['https://sqs.eu-central-1.amazonaws.com/1/q', 'sqs://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE'],
  ['sqs://sqs.eu-central-1.amazonaws.com/q', 'the account and the queue'],
  [`sqs://me:${secret}@sqs.eu-central-1.amazonaws.com/1/q`, 'AWS_ACCESS_KEY_ID'],
  ['sqs://sqs.eu-central-1.amazonaws.com/1/q?maxBatch=1', 'maxBatches?'],
  ['sqs://sqs.eu-central-1.amazonaws.com/1/q?maxBatches=0', 'from 1 to 64'],
  ['sqs://sqs.eu-central-1.amazonaws.com/1/q?maxBatches=1&maxBatches=2', 'maxBatches=VALUE once'],
  ['sqs://sqs.eu-central-1.amazonaws.com/1/q?region=', 'region=VALUE once'],
  [`sqs://q/1/q?endpoint=http://me:${secret}@localhost:1`, 'without user and password'],
  ['sqs://q/1/q?endpoint=localhost:4566', 'https://HOST:PORT'],
  ['sqs://q/%zz/q', 'base 16'],
])('the URL of a queue %s is refused: %s', async (url, says) => {
  for (const open of [openSqsSink, openSqsSource]) {
    const error: unknown = await open({ url }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'invalid_option', message: expect.stringContaining(says) as string });
    expect(String(error)).not.toContain(secret);
  }
});

test.each([
  ['s3:bucket', 's3://BUCKET/PREFIX'],
  ['s3://B/x', 'the name of a bucket'],
  [`s3://me:${secret}@bucket/x`, 'AWS_ACCESS_KEY_ID'],
  ['s3://bucket/x?endpont=https://a', 'endpoint?'],
  ['s3://bucket/x?maxObjectBytes=1MiB', 'from 1024'],
])('the URL of a bucket %s is refused: %s', async (url, says) => {
  const sink: unknown = await openS3Sink({ url }).catch((reason: unknown) => reason);
  const reading: unknown = await readS3Records({ url })
    .next()
    .catch((reason: unknown) => reason);
  for (const error of [sink, reading]) {
    expect(error).toMatchObject({ code: 'invalid_option', message: expect.stringContaining(says) as string });
    expect(String(error)).not.toContain(secret);
  }
});

test('a password is refused, and says where AWS’s keys come from', async () => {
  for (const open of [openSqsSink, openS3Sink]) {
    const error: unknown = await open({ url: 's3://bucket/x', password: secret }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({
      code: 'invalid_option',
      message: expect.stringContaining('AWS_SECRET_ACCESS_KEY') as string,
    });
    expect(String(error)).not.toContain(secret);
  }
});

test('an engine that is away, is silent or has no such place fails the opening in time', async () => {
  const engine = await SqsEngine.create(emulator);
  const s3 = `s3://nobody/x?region=us-east-1&endpoint=${engine.front.url}`;
  const openings = [
    (openTimeoutMs: number) => openSqsSink({ url: engine.url.replace('.fifo', '-none.fifo'), openTimeoutMs }),
    (openTimeoutMs: number) => openS3Sink({ url: s3, openTimeoutMs }),
  ];
  // What to do is in the message.
  for (const open of openings) await expect(open(50_000)).rejects.toThrow(/[^.]\. Make the (?:bucket|queue)/);
  engine.fail();
  for (const open of openings) await expect(open(50_000)).rejects.toMatchObject({ code: 'sink_failed' });
  await engine.heal();
  engine.hang();
  for (const open of openings)
    await expect(open(200)).rejects.toMatchObject({
      code: 'sink_failed',
      message: expect.stringContaining('within 200 ms') as string,
    });
  expect(await engine.front.openCount()).toBe(0);
  await engine.remove();
});

test.each([
  ['InvalidAccessKeyId', true],
  ['AccessDenied', true],
  ['InternalError', undefined],
])('an answer that keys or rights are not enough is told from a failure: %s', async (name, isDenied) => {
  const server = createServer((request, response) => {
    const isSqs = request.headers['x-amz-target'] !== undefined;
    response.writeHead(isDenied ? 403 : 500, {
      'content-type': isSqs ? 'application/x-amz-json-1.0' : 'application/xml',
    });
    const type = JSON.stringify({ __type: `com.amazonaws.sqs#${name}`, message: 'words' });
    response.end(isSqs ? type : `<Error><Code>${name}</Code><Message>words</Message></Error>`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const at = `endpoint=http://127.0.0.1:${(server.address() as AddressInfo).port}&region=us-east-1`;
  const error: unknown = await openS3Sink({ url: `s3://bucket/x?${at}` }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'sink_failed', ...(isDenied && { isDenied }) });
  if (!isDenied) expect(error).not.toHaveProperty('isDenied');
  // Who may only send to a queue may not ask what it is.
  if (name === 'AccessDenied') return;
  const ofQueue: unknown = await openSqsSink({ url: `sqs://q/1/q?${at}` }).catch((reason: unknown) => reason);
  expect(ofQueue).toMatchObject({ code: 'sink_failed', ...(isDenied && { isDenied }) });
});

test.for([
  ['known', []],
  ['ignored', ['does not know If-None-Match']],
  ['refused', ['does not know If-None-Match']],
] as const)(
  'promise 15: a trial finds out what a store does with conditions, as an opening does: %s',
  async ([conditions, words]) => {
    const store = await StrictS3.start();
    onTestFinished(() => store.close());
    store.conditions = conditions;
    const url = `s3://bucket/x?endpoint=http://127.0.0.1:${store.port}&region=us-east-1`;
    const sink = await openS3Sink({ url, isTrial: true });
    await sink.close();
    const others = sink.facts.warnings.filter((warning) => !warning.startsWith('Whoever answers'));
    expect(others).toEqual(words.map((word) => expect.stringContaining(word) as string));
    expect([...store.objects.keys()]).toEqual(['x/manifest.json']);
  },
);

test('where there are no keys it says where they are looked for', async () => {
  const server = createServer((_request, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) vi.stubEnv(name, undefined);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  onTestFinished(() => void vi.unstubAllEnvs());
  const url = `s3://bucket/x?endpoint=http://127.0.0.1:${(server.address() as AddressInfo).port}&region=us-east-1`;
  await expect(openS3Sink({ url })).rejects.toThrow(/No keys were found.*AWS_PROFILE/);
});

test('a trial fails where nothing may be written, and of a queue says that only a message tells', async () => {
  const methods = new Set<string | undefined>();
  const server = createServer(({ method, url }, response) => {
    methods.add(method);
    const isList = url?.includes('list-type') === true;
    response.writeHead(method === 'PUT' ? 403 : isList ? 200 : 404, { 'content-type': 'application/xml' });
    const code = method === 'PUT' ? 'AccessDenied' : 'NoSuchKey';
    response.end(isList ? '<ListBucketResult></ListBucketResult>' : `<Error><Code>${code}</Code></Error>`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const at = `endpoint=http://127.0.0.1:${(server.address() as AddressInfo).port}&region=us-east-1`;
  await expect(openS3Sink({ url: `s3://bucket/x?${at}`, isTrial: true })).rejects.toThrow('AccessDenied');
  expect(methods).toContain('PUT');

  const engine = await SqsEngine.create(emulator);
  const sink = await openSqsSink({ url: engine.url, isTrial: true });
  expect(sink.facts.untried).toContain('sqs:SendMessage');
  await sink.close();
  await engine.remove();
});

test('what an engine says of itself: at another’s endpoint no more than memory is claimed', async () => {
  const engine = await SqsEngine.create(emulator);
  const sink = await engine.open();
  expect(sink).toMatchObject({
    durability: 'memory',
    address: expect.stringMatching(/^sqs:\/\/[^?]+\.fifo$/) as string,
    facts: { engine: 'SQS, a FIFO queue' },
  });
  expect(sink.facts.warnings.join(' ')).toMatch(/300 calls.*96 hours/);
  await sink.close();
  await engine.remove();
});
