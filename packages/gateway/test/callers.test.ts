import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { keysFile } from './support/keys-file.ts';
import { eventually, run, type RunningGateway, startGateway } from './support/processes.ts';
import { chatRequest, newReader, openSession } from './support/session.ts';
import { postChat } from './support/requests.ts';
import { openStream } from './support/stream-url.ts';

const short = 'sim:tokens=3,tps=0,ttft=0';
/** It never ends by itself. */
const endless = 'sim:stall=2,tps=0,ttft=0';
const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });
const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');

/** A caller with two keys, another of its tenant, and two keys without a name. */
const env = {
  SPILLWAY_API_KEYS: 'clinic/web=sk-old,clinic/web=sk-new==,clinic/batch=sk-batch,sk-plain,sk-other',
};

/** What the log says of the streams that have ended. */
function endedStreams(gateway: RunningGateway): { caller?: string; tenant?: string }[] {
  const lines = gateway.stderr().split('\n');
  return lines
    .filter((line) => line.includes('"stream ended"'))
    .map((line) => JSON.parse(line) as { caller?: string });
}

describe('4.2 a stream is its caller’s', () => {
  test('who has another key of the same name reads and cancels it, and nobody else', async () => {
    const gateway = await startGateway([], { env });
    const opened = await openStream(gateway.url, endless, { headers: bearer('sk-old') });
    const statusOf = async (key: string, method = 'HEAD', url = opened.url): Promise<number> =>
      (await fetch(url, { method, headers: bearer(key) })).status;
    for (const key of ['sk-batch', 'sk-plain', 'sk-other']) {
      expect(await statusOf(key), key).toBe(404);
      expect(await statusOf(key, 'DELETE'), key).toBe(404);
    }
    // A key is what stands behind its name.
    expect(await statusOf('clinic/web=sk-old')).toBe(401);
    for (const key of ['sk-old', 'sk-new==']) expect(await statusOf(key), key).toBe(200);
    expect(await statusOf('sk-new==', 'DELETE')).toBe(204);
    await eventually(() => endedStreams(gateway).length === 1, 'the stream to be cancelled');
  });

  test('keys without a name are callers of their own', async () => {
    const gateway = await startGateway([], { env });
    const { response, url } = await openStream(gateway.url, short, { headers: bearer('sk-plain') });
    await response.text();
    const statuses = ['sk-plain', 'sk-other', 'sk-old'].map(
      async (key) => (await fetch(url, { headers: bearer(key) })).status,
    );
    expect(await Promise.all(statuses)).toEqual([200, 404, 404]);
  });

  test('5.9 over a session, too', async () => {
    const gateway = await startGateway([], { env });
    const first = await openSession(gateway.url);
    const reader = newReader();
    first.send(chatRequest(endless, { reader, headers: bearer('sk-old') }));
    await eventually(() => first.data.length > 0, 'a chunk');
    const url = first.of('response', 1)[0]?.url ?? '';
    const second = await openSession(gateway.url);
    const resume = { type: 'resume', reader, offset: 0, acked: 0 };
    const read = { type: 'read', url, from: 'start', overflow: 'coalesce', windowBytes: 4096 };
    for (const [index, key] of ['sk-batch', 'sk-plain', 'none of them'].entries()) {
      second.send({ ...resume, stream: 2 * index + 1, headers: bearer(key) });
      second.send({ ...read, stream: 2 * index + 2, reader: newReader(), headers: bearer(key) });
    }
    await eventually(() => second.of('error').length === 6, 'all errors');
    expect(second.of('error').map(({ code }) => code)).toEqual(
      Array.from({ length: 3 }, () => ['unknown_reader', 'not_found']).flat(),
    );
    second.send({ ...read, stream: 7, reader: newReader(), headers: bearer('sk-new==') });
    second.send({ ...resume, stream: 8, headers: bearer('sk-new==') });
    await eventually(() => second.text(7) !== '' && second.text(8) !== '', 'both readers');
    expect(second.text(8)).toBe(first.text());
  });
});

test('the log names the caller of a stream and its tenant, and no key', async () => {
  const gateway = await startGateway(['--log-level', 'trace'], { env });
  for (const key of ['sk-new==', 'sk-plain']) {
    await (await postChat(gateway.url, short, { headers: bearer(key) })).text();
  }
  expect((await postChat(gateway.url, short, { headers: bearer('sk-unknown') })).status).toBe(401);
  await eventually(() => endedStreams(gateway).length === 2, 'both streams in the log');
  const digest = sha256('sk-plain').slice(0, 8);
  expect(endedStreams(gateway)).toMatchObject([
    { caller: 'clinic/web', tenant: 'clinic' },
    { caller: digest, tenant: digest },
  ]);
  expect(gateway.stderr() + gateway.stdout()).not.toMatch(/sk-/);
});

test('without keys of the gateway, a caller is told apart by the key for its provider', async () => {
  const gateway = await startGateway();
  await (await postChat(gateway.url, short, { headers: bearer('sk-theirs') })).text();
  await (await postChat(gateway.url, short)).text();
  await eventually(() => endedStreams(gateway).length === 2, 'both streams in the log');
  expect(endedStreams(gateway)[0]?.caller).toBe(sha256('sk-theirs').slice(0, 8));
  expect(endedStreams(gateway)[1]).not.toHaveProperty('caller');
});

describe('a file of keys', () => {
  test('lets in whoever has the key of one', async () => {
    const path = keysFile(`# clinic\nclinic/web sha256:${sha256('sk-abc==')}\n`);
    const gateway = await startGateway(['--host', '0.0.0.0', '--simulated', '--api-keys-file', path], {
      env: { SPILLWAY_API_KEYS: 'sk-plain' },
    });
    const url = gateway.url.replace('0.0.0.0', '127.0.0.1');
    for (const [key, status] of [
      ['sk-abc==', 200],
      ['sk-plain', 200],
      [sha256('sk-abc=='), 401],
    ] as const) {
      const response = await postChat(url, short, { headers: bearer(key) });
      await response.text();
      expect(response.status, key).toBe(status);
    }
    await eventually(() => endedStreams(gateway).length === 2, 'both streams in the log');
    expect(endedStreams(gateway)[0]).toMatchObject({ caller: 'clinic/web', tenant: 'clinic' });
  });

  test('stops the start with a line that is none, and prints nothing of it', async () => {
    const path = keysFile('clinic/web sk-abc');
    const wrong = run(['serve', '--port', '0', '--admin-port', '0', '--api-keys-file', path]);
    expect(await wrong.exited).toBe(78);
    expect(wrong.stderr()).toContain(
      `apiKeysFile (${path}), line 1: expected KEY, NAME=KEY or "NAME sha256:DIGEST"`,
    );
    expect(wrong.stderr()).not.toContain('sk-abc');
  });
});

test('a name whose key is missing, such as of an empty variable, stops the start', async () => {
  const wrong = run(['serve', '--port', '0', '--admin-port', '0'], {
    env: { SPILLWAY_API_KEYS: 'clinic-web=' },
  });
  expect(await wrong.exited).toBe(78);
  expect(wrong.stderr()).toContain('SPILLWAY_API_KEYS, key 1 of 1: expected NAME=KEY');
  expect(wrong.stderr()).not.toContain('clinic-web');
});

test('of several keys in a request the first decides, and Authorization is the first', async () => {
  const gateway = await startGateway([], { env });
  const callerOf = async (headers: Record<string, string>): Promise<string | undefined> => {
    const before = endedStreams(gateway).length;
    await (await postChat(gateway.url, short, { headers })).text();
    await eventually(() => endedStreams(gateway).length > before, 'the stream in the log');
    return endedStreams(gateway).at(-1)?.caller;
  };
  expect(await callerOf({ ...bearer('sk-old'), 'x-api-key': 'sk-batch' })).toBe('clinic/web');
  expect(await callerOf({ ...bearer('sk-batch'), 'x-api-key': 'sk-old' })).toBe('clinic/batch');
  expect(await callerOf({ 'x-api-key': 'sk-batch', 'api-key': 'sk-old' })).toBe('clinic/batch');
  // One that is for somebody else does not count.
  expect(await callerOf({ ...bearer('another'), 'api-key': 'sk-old' })).toBe('clinic/web');
});
