import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createFetch } from '../../client/src/index.ts';
import { accumulators } from '../../core/test/format/accumulate.ts';
import { fixtures, type FormatName, formatNames, toEvents } from '../../core/test/format/fixtures.ts';
import { readWire } from '../../core/test/format/joined-events.ts';
import { countPlaces, valuesThatMayAddUp, withFieldAt } from '../../core/test/format/unknown-values.ts';
import { metric } from './support/requests.ts';
import { type Command, eventually, printed, spawnSpillway } from './support/spawn.ts';

/** Streams with fields that nobody knows, through a gateway, to readers for whom it merges. */

const paths: Readonly<Record<FormatName, string>> = {
  'openai-chat': '/v1/chat/completions',
  'openai-responses': '/v1/responses',
  'openai-completions': '/v1/completions',
  'anthropic-messages': '/v1/messages',
  gemini: '/v1beta/models/m:streamGenerateContent?alt=sse',
};

/** What the provider writes, in pieces and with a pause behind each, and whether it has. */
let reply = { bytes: new Uint8Array(), pauseMs: 0, isWritten: false };

async function write(response: ServerResponse): Promise<void> {
  const own = reply;
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (let at = 0; at < own.bytes.length && !response.destroyed; at += 5000) {
    if (!response.write(own.bytes.subarray(at, at + 5000))) {
      await Promise.race([once(response, 'drain'), once(response, 'close')]);
    }
    if (own.pauseMs > 0) await sleep(own.pauseMs);
  }
  response.end();
  own.isWritten = true;
}

const provider = createServer((incoming, response) => {
  incoming.resume().on('end', () => void write(response));
});
let gateway: Command;
let url: string;
let adminUrl: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  const at = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`;
  const upstreams = `${at}/v1 api=anthropic,url=${at} api=gemini,url=${at}`;
  const ports = ['--port', '0', '--admin-port', '0'];
  gateway = spawnSpillway(['serve', '--upstream', upstreams, ...ports, '--log-level', 'silent']);
  url = await printed(gateway, /Spillway on (\S+)/);
  adminUrl = await printed(gateway, /metrics (\S+)\/metrics/);
});
afterAll(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.exited;
  provider.closeAllConnections();
  provider.close();
});

/**
 * A text in which two equal neighbours have a field that nobody knows, again and again: in every object of an event,
 * in front of its fields and behind them. Other events are so much longer, by white space.
 */
function streamOf(format: FormatName, rounds: number, moreBytes = 0): Uint8Array {
  const texts = (fixtures[format][0]?.events ?? []).filter((event) => typeof event === 'string');
  const space = ' '.repeat(moreBytes);
  const deltas = texts.slice(20, 40).map((data) => data.replace('{', `{${space}`));
  const delta = texts[20] ?? '';
  const places = countPlaces(delta);
  const middle = Array.from({ length: rounds }, (_, round) => {
    // As many as there are places would come with the same one again and again.
    const value = valuesThatMayAddUp[(round + Math.floor(round / places)) % valuesThatMayAddUp.length];
    const odd = withFieldAt(delta, round, `"token_ids":${value}`);
    return [...deltas, odd, odd];
  });
  expect(rounds).toBeGreaterThan(places);
  return Buffer.from(
    toEvents(format, [...texts.slice(0, 20), ...middle.flat(), ...texts.slice(40)]).join(''),
  );
}

function answerWith(bytes: Uint8Array, pauseMs = 0): typeof reply {
  reply = { bytes: new Uint8Array(bytes), pauseMs, isWritten: false };
  return reply;
}

const asked = {
  method: 'POST',
  headers: { 'content-type': 'application/json', 'x-api-key': 'k' },
  body: JSON.stringify({ model: 'm', stream: true, messages: [], input: 'x', prompt: 'x', contents: [] }),
};

/** Fewer events, from which whoever adds up all that nobody knows gets the same. */
async function expectMerged(format: FormatName, received: string, bytes: Uint8Array): Promise<void> {
  const body = Buffer.from(received);
  expect(await accumulators[format]['wire']?.(body)).toEqual(await accumulators[format]['wire']?.(bytes));
  expect(readWire(body).length).toBeLessThan(readWire(bytes).length);
}

describe.each(formatNames)('promise 9: what no rule of %s names is all there, and as it came', (format) => {
  test('for a plain reader that lags', async () => {
    // 14 MB: more than the kernels between take.
    const bytes = streamOf(format, 120, 6000);
    const { body, ...options } = asked;
    answerWith(bytes);
    const client = request(url + paths[format], options);
    client.end(body);
    // It reads nothing but its head.
    const [response] = (await once(client, 'response')) as [IncomingMessage];
    await eventually(
      async () => (await metric(adminUrl, 'spillway_waiting_bytes')) > 20_000,
      'events to wait for it',
    );
    await expectMerged(format, await textOf(response), bytes);
  });

  test('for one that asks for time between two writes', async () => {
    const bytes = streamOf(format, 13);
    answerWith(bytes, 5);
    const headers = { ...asked.headers, 'spillway-merge-ms': '200' };
    const response = await fetch(url + paths[format], { ...asked, headers });
    await expectMerged(format, await response.text(), bytes);
  });

  test('in its history', async () => {
    const bytes = streamOf(format, 13);
    answerWith(bytes);
    const response = await fetch(url + paths[format], asked);
    const streamUrl = url + response.headers.get('content-location');
    await response.text();
    const history = await fetch(streamUrl, { headers: { 'x-api-key': 'k' } });
    expect(history.status).toBe(200);
    expect(history.headers.get('stream-state')).toBe('completed');
    await expectMerged(format, await history.text(), bytes);
  });

  test('for the client’s fetch, of which nobody reads for a while', async () => {
    const bytes = streamOf(format, 13);
    const own = answerWith(bytes);
    const fetchBy = createFetch({ url });
    onTestFinished(() => fetchBy.close());
    const response = await fetchBy(url + paths[format], asked);
    await eventually(() => own.isWritten, 'the provider to finish');
    await expectMerged(format, await response.text(), bytes);
  });
});
