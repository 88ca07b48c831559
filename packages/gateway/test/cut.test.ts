import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createFetch, openClient } from '../../client/src/index.ts';
import { accumulators } from '../../core/test/format/accumulate.ts';
import { fixtures, type FormatName, formatNames, toEvents } from '../../core/test/format/fixtures.ts';
import { writeResponse } from '../../core/test/format/fixtures/response-writer.ts';
import type { Replay } from '../../core/test/format/replay.ts';
import { LostStoreError } from '../src/limit/lost-store-error.ts';
import { type CutGateway, openCutGateway, reachedLimit } from './support/cut-gateway.ts';
import { eventOf } from './support/own-provider.ts';
import { chatBody, metric, payloads, postChat, rawChat } from './support/requests.ts';
import { chatRequest, openSession } from './support/session.ts';
import { eventually } from './support/spawn.ts';
import { contentIn, idsOf, readEvents } from './support/stream-url.ts';

/** Answers with events, one a write, and goes on for as long as it is let. */
function says(events: readonly string[]): (response: ServerResponse) => void {
  return (response) => {
    void (async () => {
      for (const event of events) {
        if (response.destroyed) return;
        response.write(event);
        await sleep(1);
      }
    })();
  };
}

const words = Array.from({ length: 40 }, (_, at) => eventOf(`word ${at} `));

/** What of the words is in a stream, and whether it ends as a whole message. */
function lastOf(text: string): unknown {
  return JSON.parse(payloads(text).at(-2) ?? 'null');
}

const note = { reason: 'limit', limit: 'tokensPerDay', scope: 'tenant', resetMs: 60_000, usage: 'estimated' };
const closed = {
  choices: [{ index: 0, finish_reason: 'length' }],
  usage: { prompt_tokens: 12, completion_tokens: 34, total_tokens: 46 },
  spillway: note,
};

function expectWhole(text: string): void {
  expect(payloads(text).at(-1)).toBe('[DONE]');
  expect(lastOf(text)).toMatchObject(closed);
  const said = contentIn(text);
  expect(said.length).toBeGreaterThan(0);
  expect(
    words
      .map((word) => contentIn(word))
      .join('')
      .startsWith(said),
  ).toBe(true);
}

/** Whoever was late has fewer, larger events. */
function expectSame(text: string, other: string): void {
  expect(contentIn(text)).toBe(contentIn(other));
  expect(payloads(text).slice(-2)).toEqual(payloads(other).slice(-2));
}

/** Sends what an SDK asks for to the gateway. */
function through(
  gateway: CutGateway,
  fetchBy: typeof fetch,
  more: Readonly<Record<string, string>> = {},
): Replay {
  return () => async (input, init) => {
    const asked = new Request(input, init);
    const { pathname, search } = new URL(asked.url);
    const headers = new Headers(asked.headers);
    for (const [name, value] of Object.entries(more)) headers.set(name, value);
    return await fetchBy(gateway.url + pathname + search, {
      method: asked.method,
      headers,
      body: await asked.text(),
    });
  };
}

const official: Readonly<Record<FormatName, string>> = {
  'openai-chat': 'openaiChat',
  'openai-completions': 'openaiCompletions',
  'openai-responses': 'openaiResponses',
  'anthropic-messages': 'anthropicMessages',
  gemini: 'geminiChunks',
};

describe.each(formatNames)('promise 18: by the gateway, an answer of %s that is cut is whole', (format) => {
  test.each(['as it comes', 'merged', 'with the client’s fetch'])('%s', async (way) => {
    const gateway = await openCutGateway();
    const session = createFetch({ url: gateway.url });
    onTestFinished(() => session.close());
    const [fixture] = fixtures[format];
    const events = toEvents(format, fixture?.events ?? [], true);
    gateway.answer(says(events));
    gateway.cutBehind(20);
    const accumulate = accumulators[format][official[format]];
    const more = way === 'merged' ? { 'spillway-merge-ms': '30' } : {};
    const replay = through(gateway, way === 'with the client’s fetch' ? session : fetch, more);
    const seen = JSON.stringify(await accumulate?.([], replay));
    expect(seen).not.toContain('"error":{');
    expect(seen).toMatch(/"(?:length|max_tokens|max_output_tokens|MAX_TOKENS)\\?"/);
    // What came is all there.
    const [stream] = gateway.streams;
    const came = await accumulate?.(
      events.slice(0, stream?.events).map((event) => Buffer.from(event)),
      undefined,
    );
    expect(textIn(format, JSON.parse(seen))).toBe(textIn(format, came));
    await gateway.providerClosed();
  });
});

/** The words of a message, wherever an SDK has them. */
function textIn(format: FormatName, result: unknown): string {
  const texts: string[] = [];
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, one] of Object.entries(value)) {
      if (typeof one === 'string' && ['content', 'text'].includes(key)) texts.push(one);
      else look(one);
    }
  };
  look(result);
  return texts.toSorted((one, other) => other.length - one.length)[0] ?? format;
}

describe('promise 18: an answer that is cut', () => {
  test('is delivered, and closed behind what waits, to a reader that did not read', async () => {
    const gateway = await openCutGateway({ windowBytes: '16KiB' });
    gateway.answer((response) => {
      let at = 0;
      const more = (): void => {
        while (!response.destroyed && response.write(eventOf(`${at}${'x'.repeat(8000)} `))) at += 1;
        at += 1;
        response.once('drain', more);
      };
      more();
    });
    const client = await rawChat(gateway.url, 'm', { reads: false });
    await eventually(() => gateway.streams[0]?.isPaused ?? false, 'the provider to wait');
    gateway.streams[0]?.cut(reachedLimit());
    await gateway.providerClosed();
    expect(gateway.streams[0]?.end).toBeUndefined();
    client.socket.resume();
    await eventually(() => client.received().includes('[DONE]'), 'the end');
    const text = client.received();
    const said = [...text.matchAll(/"content":"([^"]*)"/g)].map(([, content]) => content ?? '').join('');
    // All that came, in order, and behind it the end.
    const events = gateway.streams[0]?.events ?? 0;
    expect([...said.matchAll(/(\d+)x+ /g)].map(([, at]) => Number(at))).toEqual(
      Array.from({ length: events }, (_, at) => at),
    );
    expect(text.indexOf('"spillway"')).toBeGreaterThan(text.lastIndexOf('xxx'));
    await eventually(() => gateway.streams[0]?.end?.state === 'cancelled', 'the stream to end');
  });

  test('is cancelled by a limit for everybody who looks', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cut-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'tap.jsonl');
    const gateway = await openCutGateway({ tap: `to=file:${path}` });
    gateway.answer(says(words));
    gateway.cutBehind(10);
    const response = await postChat(gateway.url, 'm');
    const url = gateway.url + (response.headers.get('content-location') ?? '');
    const text = await response.text();
    expectWhole(text);
    const [stream] = gateway.streams;
    await eventually(() => stream?.end !== undefined, 'the end of the stream');
    expect(stream?.end).toMatchObject({ state: 'cancelled', code: 'limit_reached' });
    expect(stream?.journal.entries.at(-2)?.detail).toBe('cancelled: limit_reached');
    // By its URL.
    const head = await fetch(url, { method: 'HEAD' });
    expect(head.headers.get('stream-state')).toBe('cancelled');
    expect(head.headers.get('stream-state-reason')).toBe('limit');
    const stored = await fetch(url);
    expect(stored.headers.get('stream-closed')).toBe('true');
    expectSame(await stored.text(), text);
    const control = await (await fetch(`${url}?offset=-1&live=sse`)).text();
    expect(control).toContain('"streamState":"cancelled","streamStateReason":"limit"');
    const events = await (await readEvents(url)).text();
    expect(contentIn(events)).toBe(contentIn(text));
    expect((await readEvents(url, { 'last-event-id': idsOf(events).at(-1) ?? '' })).status).toBe(204);
    // In the log, the metrics and the records.
    await eventually(() => gateway.lines().some(({ msg }) => msg === 'stream ended'), 'the line');
    expect(gateway.lines().find(({ msg }) => msg === 'stream ended')).toMatchObject({
      state: 'cancelled',
      code: 'limit_reached',
      reason: reachedLimit().message,
    });
    const series = 'spillway_streams_ended_total{state="cancelled",error_type="limit_reached"}';
    await eventually(async () => (await metric(gateway.adminUrl, series)) === 1, 'the series');
    const records = await eventually(() => {
      const lines = readFileSync(path, 'utf8').trim().split('\n');
      const all = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
      return all.some(({ kind }) => kind === 'end') && all.some(({ kind }) => kind === 'reader')
        ? all
        : false;
    }, 'the records');
    expect(records.find(({ kind }) => kind === 'end')).toMatchObject({
      state: 'cancelled',
      code: 'limit_reached',
      usage: { source: 'estimated' },
    });
    expect(records.find(({ kind }) => kind === 'reader')).toMatchObject({ reason: 'delivered' });
    const kept = records.filter(({ kind }) => kind === 'chunks').map(({ data }) => String(data));
    expectSame(kept.join(''), text);
  });

  test('has tokens that are estimates, also where a tap holds back its end', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cut-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'tap.jsonl');
    const gateway = await openCutGateway({ tap: `to=file:${path},gate=true` });
    gateway.answer(says(words));
    gateway.cutBehind(10);
    const response = await postChat(gateway.url, 'm');
    expect(await response.text()).toContain('"completion_tokens":34');
    await eventually(() => gateway.lines().some(({ msg }) => msg === 'stream ended'), 'the line');
    expect(gateway.lines().find(({ msg }) => msg === 'stream ended')).not.toHaveProperty('outputTokens');
    const end = readFileSync(path, 'utf8').match(/.*"kind":"end".*/)?.[0] ?? '';
    expect(JSON.parse(end)).toMatchObject({ usage: { source: 'estimated' } });
  });

  test('has a reason of its own where no limit is reached, but the store of limits is away', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cut-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'tap.jsonl');
    const gateway = await openCutGateway({ tap: `to=file:${path}` });
    gateway.answer(says(words));
    const lost = new LostStoreError({ scope: 'tenant', budget: 'tokensPerDay', value: 100, used: 50 });
    gateway.cutBehind(10, lost);
    const response = await postChat(gateway.url, 'm');
    const url = gateway.url + (response.headers.get('content-location') ?? '');
    expect(lastOf(await response.text())).toMatchObject({
      choices: [{ finish_reason: 'length' }],
      spillway: { reason: 'limits_unavailable', limit: 'limits_unavailable', scope: 'tenant' },
    });
    await eventually(() => gateway.streams[0]?.end !== undefined, 'the end of the stream');
    const head = await fetch(url, { method: 'HEAD' });
    expect(head.headers.get('stream-state')).toBe('cancelled');
    expect(head.headers.get('stream-state-reason')).toBe('limits_unavailable');
    const session = await openSession(gateway.url);
    session.send(chatRequest('m'));
    await eventually(() => session.of('end').length === 1, 'the end');
    expect(session.of('end')[0]).toMatchObject({ state: 'cancelled', reason: 'limits_unavailable' });
    await eventually(() => readFileSync(path, 'utf8').includes('"kind":"end"'), 'the record');
    const end = readFileSync(path, 'utf8').match(/.*"kind":"end".*/)?.[0] ?? '';
    expect(JSON.parse(end)).toMatchObject({ state: 'cancelled', code: 'limits_unavailable' });
    expect(gateway.lines().find(({ msg }) => msg === 'stream ended')).toMatchObject({
      state: 'cancelled',
      code: 'limits_unavailable',
    });
  });

  test('has the tokens that its provider reported, where it reports them as it goes on', async () => {
    const gateway = await openCutGateway();
    const counted = words.map((word, at) => {
      const usage = { prompt_tokens: 5, completion_tokens: at + 1, total_tokens: at + 6 };
      return `data: ${JSON.stringify({ ...(JSON.parse(payloads(word)[0] ?? '') as object), usage })}\n\n`;
    });
    gateway.answer(says(counted));
    gateway.cutBehind(10);
    const text = await (await postChat(gateway.url, 'm')).text();
    const events = gateway.streams[0]?.events ?? 0;
    expect(events).toBeGreaterThanOrEqual(10);
    expect(lastOf(text)).toMatchObject({
      usage: { prompt_tokens: 5, completion_tokens: events, total_tokens: events + 5 },
      spillway: { ...note, usage: 'reported' },
    });
    // What is settled is the same.
    expect(gateway.streams[0]?.reported).toEqual({ inputTokens: 5, outputTokens: events });
  });

  test.each([
    ['CRLF', '\r\n'],
    ['CR', '\r'],
  ])('is closed with the line ends of its provider: %s', async (_name, lineEnd) => {
    const gateway = await openCutGateway();
    gateway.answer(says(words.map((word) => word.replaceAll('\n', lineEnd))));
    gateway.cutBehind(10);
    const text = await (await postChat(gateway.url, 'm')).text();
    expect(text).toMatch(new RegExp(`data: \\[DONE\\]${lineEnd}${lineEnd}$`));
    expect(text.split(lineEnd).join('')).not.toMatch(/[\r\n]/);
    expectWhole(text.replaceAll(lineEnd, '\n'));
  });

  test('ends over a session with its reason, and the client says it', async () => {
    const gateway = await openCutGateway();
    gateway.answer(says(words));
    gateway.cutBehind(10);
    const session = await openSession(gateway.url);
    session.send(chatRequest('m'));
    await eventually(() => session.of('end').length === 1, 'the end');
    expect(session.of('end')[0]).toEqual({ type: 'end', stream: 1, state: 'cancelled', reason: 'limit' });
    expectWhole(session.text());
    const client = openClient({ url: gateway.url });
    onTestFinished(() => client.close());
    const reader = client.request('/v1/chat/completions', {
      headers: { 'content-type': 'application/json' },
      body: chatBody('m'),
    });
    const ends: unknown[] = [];
    reader.onEvent((event) => {
      if (event.type === 'end') ends.push(event);
    });
    const got: Buffer[] = [];
    for await (const chunk of reader)
      if ('bytes' in chunk && chunk.bytes instanceof Uint8Array) got.push(Buffer.from(chunk.bytes));
    expectWhole(Buffer.concat(got).toString());
    expect(ends).toEqual([{ type: 'end', state: 'cancelled', reason: 'limit' }]);
  });

  test('is resumed as any other: what was not received comes, the closing too', async () => {
    const gateway = await openCutGateway();
    gateway.answer(says(words));
    gateway.cutBehind(30);
    const first = await openSession(gateway.url);
    const asked = chatRequest('m', { windowBytes: 2048 });
    first.send(asked);
    await eventually(() => first.data.length > 2, 'some data');
    first.socket.terminate();
    await eventually(() => gateway.streams[0]?.limits?.cut !== undefined, 'the cut');
    const second = await openSession(gateway.url);
    const offset = first.offset();
    second.send({
      type: 'resume',
      stream: 1,
      reader: asked.reader,
      headers: asked.headers,
      offset,
      acked: offset,
    });
    second.socket.on('message', (_message, isBinary) => {
      const to = second.offset();
      if (isBinary && to > offset) second.send({ type: 'ack', stream: 1, offset: to });
    });
    await eventually(() => second.of('end').length === 1, 'the end');
    expect(second.of('end')[0]).toMatchObject({ state: 'cancelled', reason: 'limit' });
    expectWhole(first.text() + second.text());
  });

  test('is an error where nothing came yet', async () => {
    const gateway = await openCutGateway();
    gateway.answer((response) => response.flushHeaders());
    const answer = postChat(gateway.url, 'm');
    await eventually(() => gateway.streams[0]?.body !== undefined, 'the provider’s head');
    gateway.streams[0]?.cut(reachedLimit());
    const response = await answer;
    expect(response.status).toBe(429);
    expect(response.headers.get('retry-after')).toBe('60');
    expect(await response.json()).toMatchObject({ error: { code: 'limit_reached' } });
    await gateway.providerClosed();
  });

  test('is no message where it is no stream of events: its connection is cut', async () => {
    const gateway = await openCutGateway();
    gateway.answer((response) => {
      response.setHeader('content-type', 'application/json');
      response.write('{"half":');
    });
    const got = await postChat(gateway.url, 'm', { stream: false });
    await eventually(() => (gateway.streams[0]?.events ?? 0) + (gateway.streams[0]?.bytes ?? 0) > 0, 'bytes');
    gateway.streams[0]?.cut(reachedLimit());
    await expect(got.text()).rejects.toThrow();
  });

  test('is completed if the provider was done before', async () => {
    const gateway = await openCutGateway();
    gateway.answer((response) => void response.end(`${words.join('')}data: [DONE]\n\n`));
    gateway.cutBehind(1);
    expect(contentIn(await (await postChat(gateway.url, 'm')).text())).toContain('word 39');
    await eventually(() => gateway.streams[0]?.end?.state === 'completed', 'the end');
  });

  test('has all of its text in the last event, however large that is', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cut-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'usage.jsonl');
    const gateway = await openCutGateway({ windowBytes: '256KiB', tap: `to=file:${path},content=usage` });
    const said = Array.from({ length: 50 }, (_, at) => `${at} ${'y'.repeat(1000)}`);
    gateway.answer(says(responseOf(said)));
    gateway.cutBehind(45);
    const seen = await accumulators['openai-responses'][official['openai-responses']]?.(
      [],
      through(gateway, fetch),
    );
    const came = said.slice(0, (gateway.streams[0]?.events ?? 0) - 4).join('');
    expect(textIn('openai-responses', seen)).toBe(came);
    expect(seen).toMatchObject({ status: 'incomplete', output: [{ content: [{ text: came }] }] });
    // What stands in the closing once more is not counted once more.
    const end = await eventually(() => {
      const lines = readFileSync(path, 'utf8').trim().split('\n');
      const all = lines.map((line) => JSON.parse(line) as { kind: string; usage?: { outputTokens: number } });
      return all.find(({ kind }) => kind === 'end');
    }, 'the record');
    expect(end.usage?.outputTokens).toBeLessThan(came.length / 3);
  });

  test('is whole although its start is not kept any more', async () => {
    const gateway = await openCutGateway({ windowBytes: '16KiB' });
    const said = Array.from({ length: 100 }, (_, at) => `${at} ${'z'.repeat(1000)}`);
    gateway.answer(says(responseOf(said)));
    gateway.cutBehind(90);
    const seen = await accumulators['openai-responses'][official['openai-responses']]?.(
      [],
      through(gateway, fetch),
    );
    expect(gateway.streams[0]?.log?.oldestOffset).toBeGreaterThan(0);
    const came = said.slice(0, (gateway.streams[0]?.events ?? 0) - 4).join('');
    expect(seen).toMatchObject({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } });
    expect(textIn('openai-responses', seen)).toBe(came);
  });

  test('is held back by a tap that gates, the closing too, and is whole in its records', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cut-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'audit.jsonl');
    const gateway = await openCutGateway({ tap: `to=file:${path},gate=true` });
    gateway.answer(says(words));
    gateway.cutBehind(10);
    const text = await (await postChat(gateway.url, 'm')).text();
    expectWhole(text);
    // What a reader has, the file has.
    const kept = readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const chunks = kept.filter(({ kind }) => kind === 'chunks').map(({ data }) => String(data));
    expectSame(chunks.join(''), text);
  });
});

/** The first events of a response that says this. */
function responseOf(said: readonly string[]): string[] {
  return toEvents(
    'openai-responses',
    writeResponse((writer) => writer.message('msg_1', '', { deltas: said, isOpen: true }), 'open'),
  );
}
