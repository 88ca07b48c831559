import { setTimeout as sleep } from 'node:timers/promises';
import { Gap, type RecordSink } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../../gateway/test/support/spawn.ts';
import { within } from '../../core/test/support/within.ts';
import { GatewayError } from '../src/errors.ts';
import { RunMemory } from '../src/memory/run-memory.ts';
import { openRunChannel } from '../src/stream/run-channel.ts';
import type { GatewayStream } from '../src/stream/stream.ts';
import { redactionRules } from '../src/tap/content/redactor.ts';
import { RecordTap, type RecordTapOptions } from '../src/tap/record-tap.ts';
import type { TapRecord } from '../src/tap/tap-record.ts';
import { nodeClock } from '../src/time/node-clock.ts';
import type { ServerClock } from '../src/time/server-clock.ts';
import { dataOf, MemorySink } from './support/memory-sink.ts';
import { nobody } from './support/nobody.ts';
import { openStreams, startStream, textIn } from './support/own-streams.ts';
import { serveStreams } from './support/own-server.ts';

const events = { headers: { accept: 'text/event-stream' } };

function openTap(options: Partial<RecordTapOptions> = {}): {
  tap: RecordTap;
  sink: MemorySink;
  log: string[];
} {
  const sink = new MemorySink();
  const log: string[] = [];
  const say = (_: object, message: string): void => void log.push(message);
  const tap = new RecordTap({
    name: 'audit',
    sink,
    clock: nodeClock,
    log: { info: say, error: say },
    ...options,
  });
  onTestFinished(() => tap.close(100));
  return { tap, sink, log };
}

test('writes begin as far apart as everyMs says, and what comes meanwhile is one write', async () => {
  const { sink, tap } = openTap({ everyMs: 60_000 });
  const { streams } = openStreams([tap]);
  const { end, say } = startStream(streams, { detach: 'finish' });
  say('one ');
  await eventually(() => tap.figures.writes === 1, 'the first write');
  for (let count = 0; count < 50; count += 1) {
    say('more ');
    await sleep(1);
  }
  end();
  expect(tap.figures.writes).toBe(1);
  expect(tap.figures.lag.records).toBeGreaterThan(0);
  // A close does not wait for the rest.
  await tap.close(5000);
  expect(tap.figures.writes).toBe(2);
  expect(textIn(dataOf(sink.records()))).toContain('more more');
});

test('a stream is written down: who asked, what was answered, how it ended, what its readers got', async () => {
  const { sink, tap } = openTap();
  const { defects, streams } = openStreams([tap]);
  const url = await serveStreams(streams);
  const { end, say, stream } = startStream(streams, { detach: 'finish', model: 'small', requestId: 'r-1' });
  const live = await fetch(url + stream.url, events);
  say('one ');
  await eventually(() => dataOf(sink.records()).includes('one'), 'the first chunk');
  say('two ');
  end();
  const text = await live.text();
  await eventually(() => sink.records().some(({ kind }) => kind === 'reader'), 'the reader’s end');
  const records = sink.records();
  expect(records.map(({ kind, seq }) => `${seq} ${kind}`)).toEqual([
    '0 begin',
    '1 answer',
    '2 chunks',
    '3 chunks',
    '4 end',
    '5 reader',
  ]);
  expect(new Set(records.map((record) => record.stream))).toEqual(new Set([stream.id]));
  expect(records[0]).toMatchObject({ model: 'small', requestId: 'r-1', provider: 'p' });
  expect(records[1]).toMatchObject({ status: 200, format: 'openai-chat' });
  expect(records[2]).toMatchObject({ from: 0, to: 1, events: 1 });
  expect(records[4]).toMatchObject({
    state: 'completed',
    offset: 2,
    events: 2,
    usage: { outputTokens: 2, source: 'estimated' },
  });
  expect(records[5]).toMatchObject({
    reader: 1,
    delivered: 2,
    acknowledged: null,
    reason: 'delivered',
    lost: 0,
  });
  expect(textIn(dataOf(records))).toBe(textIn(text));
  // Whoever asks for what is there is in it, too.
  await (await fetch(url + stream.url)).text();
  const part = await eventually(() => sink.records()[6], 'the part');
  expect(part).toMatchObject({ kind: 'reader', reader: 0, via: 'part', delivered: 2 });
  expect(defects).toEqual([]);
});

test('promise 12: with a gate, a reader gets nothing that the sink has not kept', async () => {
  const { sink, tap } = openTap({ gate: true });
  const { streams } = openStreams([tap]);
  const url = await serveStreams(streams);
  let letGo = Promise.withResolvers<void>();
  sink.pause = () => letGo.promise;
  const next = (): void => {
    letGo.resolve();
    letGo = Promise.withResolvers();
  };
  const { end, say, stream } = startStream(streams, { detach: 'finish' });
  let answered = '';
  let isAnswered = false;
  const read = (async () => {
    const live = await fetch(url + stream.url, events);
    isAnswered = true;
    for await (const part of live.body ?? []) {
      answered += Buffer.from(part).toString();
      expect(textIn(dataOf(sink.records())).startsWith(textIn(answered))).toBe(true);
    }
  })();
  await eventually(() => sink.writes === 1, 'the first write');
  say('one ');
  await sleep(20);
  expect(isAnswered).toBe(false);
  next();
  await eventually(() => sink.writes === 2, 'the second write');
  await eventually(() => isAnswered, 'the head');
  say('two ');
  end();
  await sleep(20);
  expect(answered).toBe('');
  sink.pause = undefined;
  next();
  await within(read, 'the answer');
  expect(textIn(answered)).toBe('one two ');
  expect(sink.records().map(({ kind }) => kind)).toContain('end');
});

test('promise 13: 80 tokens a second against 20 writes a second: every chunk once, in order, nobody is slowed', async () => {
  const { sink, tap } = openTap();
  const { streams } = openStreams([tap]);
  sink.pause = () => sleep(50);
  const { end, say, stream } = startStream(streams, { detach: 'finish' });
  for (let token = 0; token < 80; token += 1) {
    expect(say(`${token} `)).toBe(true);
    await sleep(5);
  }
  end();
  await eventually(() => sink.records().some(({ kind }) => kind === 'end'), 'the end');
  const records = sink.records();
  const chunks = records.filter((record) => record.kind === 'chunks');
  expect(chunks.reduce((at, { from, to }) => (from === at ? to : Number.NaN), 0)).toBe(80);
  expect(textIn(dataOf(records))).toBe(Array.from({ length: 80 }, (_, token) => `${token} `).join(''));
  // The writes are fewer than the tokens, because what waited was merged.
  expect(chunks.length).toBeLessThan(40);
  expect(stream.isDelivered).toBe(true);
});

test('while its sink is down, a stream that needs it ends, new ones are refused at once, and it comes back by itself', async () => {
  const { log, sink, tap } = openTap({ gate: true, deadlineMs: 200 });
  const { defects, streams } = openStreams([tap]);
  const url = await serveStreams(streams);
  const first = startStream(streams, { detach: 'finish' });
  first.say('one ');
  const live = await fetch(url + first.stream.url, events);
  await eventually(() => dataOf(sink.records()).includes('one'), 'the first chunk');
  sink.failure = 'the disk is full';
  first.say('two ');
  const text = await within(live.text(), 'the end of the answer');
  expect(textIn(text)).toBe('one ');
  expect(text).toContain('tap_unavailable');
  const second = streams.open({ ...nobody, detach: 'finish' });
  expect(second.signal.reason).toMatchObject({ code: 'tap_unavailable', status: 503, retryAfterS: 1 });
  streams.ended(first.stream, { state: 'failed', error: new GatewayError('tap_unavailable', 'gone') });
  streams.ended(second, { state: 'failed', error: new GatewayError('tap_unavailable', 'gone') });
  expect(tap.figures).toMatchObject({ isUp: false });
  sink.failure = undefined;
  await eventually(() => tap.figures.isUp, 'the tap');
  await eventually(() => sink.records(first.stream.id).some(({ kind }) => kind === 'end'), 'the end');
  expect(sink.records(first.stream.id).map(({ kind, seq }) => `${seq} ${kind}`)).toEqual(
    expect.arrayContaining(['0 begin', '1 answer', '2 chunks', '3 chunks']),
  );
  expect(sink.records(second.id)).toEqual([]);
  expect(log).toEqual(['a tap is down: its sink does not keep what is written', 'a tap is up again']);
  expect(startStream(streams).stream.signal.aborted).toBe(false);
  expect(defects).toEqual([]);
});

test('the deadline is of all tries of a write together: a try that hangs behind one that failed adds nothing', async () => {
  const memory = new MemorySink();
  const hanging = Promise.withResolvers<AbortSignal>();
  let tries = 0;
  const sink: RecordSink = {
    durability: 'memory',
    write: (records, signal) => {
      tries += 1;
      if (tries === 1) return Promise.reject(new Error('it is full'));
      if (tries > 2) return memory.write(records, signal);
      hanging.resolve(signal);
      const { promise, reject } = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => reject(signal.reason as Error));
      return promise;
    },
    close: () => memory.close(),
  };
  const { tap } = openTap({ gate: true, deadlineMs: 1500, sink });
  const { streams } = openStreams([tap]);
  const { say, stream } = startStream(streams);
  say('one ');
  const signal = await hanging.promise;
  await expect(stream.started).rejects.toMatchObject({ code: 'tap_unavailable' });
  expect(signal.aborted).toBe(false);
  await eventually(() => tries > 2, 'the next try');
});

test('a tap that may lose costs nobody anything when its sink hangs, and says what it lost', async () => {
  const { sink, tap } = openTap({ overflow: 'drop-oldest', maxRecords: 5, deadlineMs: 200 });
  const { defects, streams } = openStreams([tap]);
  const url = await serveStreams(streams);
  let isHanging = true;
  sink.pause = () => (isHanging ? new Promise(() => undefined) : Promise.resolve());
  const { channel, end, stream } = startStream(streams, { detach: 'finish' });
  const live = await fetch(url + stream.url, events);
  // Comments cannot be merged.
  for (let note = 0; note < 50; note += 1) {
    const bytes = Buffer.from(`: ${'x'.repeat(100)}${note}\n\n`);
    await channel.write({ bytes, byteLength: bytes.length, events: 0 });
  }
  end();
  expect(await within(live.text(), 'the answer')).toContain('x49');
  await within(stream.delivered, 'the stream’s place');
  isHanging = false;
  await eventually(() => sink.records().some(({ kind }) => kind === 'end'), 'the end');
  const missing = sink.records().filter((record) => record.kind === 'gap');
  const has = sink.records().filter((record) => record.kind === 'chunks');
  const count = (ranges: readonly { readonly from: number; readonly to: number }[]): number =>
    ranges.reduce((sum, { from, to }) => sum + to - from, 0);
  expect(count(missing) + count(has)).toBe(50);
  expect(tap.figures.lost).toBe(count(missing));
  expect(count(missing)).toBeGreaterThan(40);
  expect(defects).toEqual([]);
});

test('what a reader got of a stream that was cancelled is in the records', async () => {
  const { sink, tap } = openTap();
  const { streams } = openStreams([tap]);
  const { say, stream } = startStream(streams, { detach: 'finish' });
  await eventually(() => sink.records().some(({ kind }) => kind === 'answer'), 'the answer');
  sink.pause = () => sleep(50);
  for (const text of ['one ', 'two ', 'three ']) say(text);
  stream.cancel(new GatewayError('cancelled', 'The stream was cancelled.'));
  streams.ended(stream, {
    state: 'cancelled',
    error: new GatewayError('cancelled', 'The stream was cancelled.'),
  });
  await eventually(() => sink.records().some(({ kind }) => kind === 'end'), 'the end');
  expect(textIn(dataOf(sink.records()))).toBe('one two three ');
  expect(sink.records().at(-1)).toMatchObject({
    kind: 'end',
    state: 'cancelled',
    code: 'cancelled',
    offset: 3,
  });
});

test('a tap that cannot open ends the stream if it is required, and is a defect of its own otherwise', async () => {
  const broken = (isRequired: boolean) => ({
    name: 'broken',
    isRequired,
    open: () => {
      throw new Error('no memory');
    },
  });
  const required = openStreams([broken(true)]);
  const refused = required.streams.open(nobody);
  expect(refused.signal.reason).toMatchObject({ code: 'tap_unavailable' });
  await expect(refused.started).rejects.toMatchObject({ code: 'tap_unavailable' });
  const other = openStreams([broken(false)]);
  expect(startStream(other.streams).stream.signal.aborted).toBe(false);
  expect([required.defects, other.defects]).toEqual([['tap broken'], ['tap broken']]);
});

test('without content, only who asked and how it ended is kept', async () => {
  const { sink, tap } = openTap({ content: 'usage' });
  const { streams } = openStreams([tap]);
  const { end, say } = startStream(streams, { detach: 'finish' });
  say('secret ');
  end();
  await eventually(() => sink.records().some(({ kind }) => kind === 'end'), 'the end');
  expect(sink.records().map(({ kind }) => kind)).toEqual(['begin', 'answer', 'end']);
  expect(JSON.stringify(sink.records())).not.toContain('secret');
});

test('a filter says which streams are written down', async () => {
  const { sink, tap } = openTap({ when: ({ model }) => model === 'large' });
  const { streams } = openStreams([tap]);
  const small = startStream(streams, { detach: 'finish', model: 'small' });
  const large = startStream(streams, { detach: 'finish', model: 'large' });
  small.end();
  large.end();
  await eventually(() => sink.records().some(({ kind }) => kind === 'end'), 'the end');
  expect(sink.records(small.stream.id)).toEqual([]);
});

test('closing writes what waits, and closes the sink', async () => {
  const { sink, tap } = openTap();
  const { streams } = openStreams([tap]);
  sink.pause = () => sleep(20);
  const { end, say } = startStream(streams, { detach: 'finish' });
  say('last ');
  end();
  await tap.close(5000);
  expect(sink.records().at(-1)?.kind).toBe('end');
  expect(sink.isClosed).toBe(true);
});

/** Node's time, but a short wait never ends. */
const endless: ServerClock = Object.assign(Object.create(nodeClock) as ServerClock, {
  after: (ms: number, callback: () => void) => nodeClock.after(ms <= 10 ? 3_600_000 : ms, callback).unref(),
});

test('writes that no reader waits for are apart, and closing does not wait for the next one', async () => {
  for (const gate of [true, false]) {
    const { sink, tap } = openTap({ gate, clock: endless });
    const { streams } = openStreams([tap]);
    const { say } = startStream(streams, { detach: 'finish' });
    await eventually(() => tap.figures.writes === 1, 'the first write');
    say('next ');
    if (gate) await eventually(() => dataOf(sink.records()).includes('next'), 'the next write');
    else await sleep(20);
    expect(dataOf(sink.records()).includes('next')).toBe(gate);
    await within(tap.close(5000), 'the tap to close');
    expect(dataOf(sink.records())).toContain('next');
  }
});

test('pieces of a body, which cannot be merged, are written at once', async () => {
  const { sink, tap } = openTap({ clock: endless });
  const { streams } = openStreams([tap]);
  const stream = streams.open(nobody);
  const channel = openRunChannel(65_536, new RunMemory(), undefined, nodeClock);
  const body = { isEvents: false, format: undefined, status: 200, reason: '', headers: {} };
  stream.start({ ...body, log: channel, maxWaitingBytes: 65_536 }, nodeClock.nowMs());
  for (const piece of ['first ', 'next ']) {
    const bytes = Buffer.from(piece);
    channel.offer({ bytes, byteLength: bytes.length, events: 0 });
    await eventually(() => dataOf(sink.records()).includes(piece), piece);
  }
});

/** An event with a word and what is known of its probability. */
function likely(word: string): EventRun {
  const logprobs = { content: [{ token: word, logprob: -0.1, bytes: null, top_logprobs: [] }] };
  const bytes = Buffer.from(
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: word }, logprobs }] })}\n\n`,
  );
  return { bytes, byteLength: bytes.length, events: 1 };
}

test('promise 14: a tap that lags leaves out the named parts, says so, slows nobody, and comes back', async () => {
  const { sink, tap } = openTap({
    overflow: 'drop-oldest',
    shed: { aboveMs: 150, belowMs: 75, parts: ['logprobs'] },
  });
  const { streams } = openStreams([tap]);
  const { channel, end, stream } = startStream(streams, { detach: 'finish' });
  let said = '';
  const say = (word: string): void => {
    expect(channel.offer(likely(word))).toBe('accepted');
    said += word;
  };
  const has = (word: string): boolean => dataOf(sink.records()).includes(`"content":"${word}`);
  say('early ');
  await eventually(() => has('early'), 'the first word');
  const { writes } = sink;
  let letGo = Promise.withResolvers<void>();
  sink.pause = () => letGo.promise;
  say('first ');
  await eventually(() => sink.writes === writes + 1, 'a write that waits');
  // What comes now waits for that write, and is late when it is taken.
  for (let word = 0; word < 20; word += 1) say(`${word} `);
  await sleep(200);
  letGo.resolve();
  letGo = Promise.withResolvers();
  await eventually(() => sink.writes === writes + 2, 'the late write');
  expect(tap.figures.isShedding).toBe(true);
  sink.pause = undefined;
  letGo.resolve();
  await eventually(() => tap.figures.lag.records === 0, 'the tap to catch up');
  say('late ');
  end();
  await eventually(() => sink.records().some(({ kind }) => kind === 'end'), 'the end');
  expect(tap.figures).toMatchObject({ isShedding: false, lost: 0 });
  expect(stream.isPaused).toBe(false);
  const chunks = sink.records().filter((record) => record.kind === 'chunks');
  expect(textIn(dataOf(chunks))).toBe(said);
  const late = chunks.filter(({ shed }) => shed !== undefined);
  expect(late.map(({ shed }) => shed)).toEqual([['logprobs']]);
  expect(dataOf(late)).toContain('"content":"0 ');
  for (const chunk of chunks) expect(chunk.data?.includes('logprob"')).toBe(chunk.shed === undefined);
});

test('promise 12: what may be the beginning of something to replace holds back whoever waits for the gate', async () => {
  const { sink, tap } = openTap({ gate: true, redact: [redactionRules.email] });
  const { streams } = openStreams([tap]);
  const { end, say, stream } = startStream(streams, { detach: 'finish' });
  await stream.started;
  const reader = stream.body?.log.reader({ overflow: 'coalesce' });
  const takes = async (): Promise<string> => {
    let text = '';
    for (;;) {
      const items = reader?.takeAll() ?? [];
      if (items.length === 0) break;
      text += items
        .map((item) => (item instanceof Gap ? '' : textIn(Buffer.from(item.bytes).toString())))
        .join('');
    }
    await sleep(0);
    return text;
  };
  const kept = async (count: number): Promise<void> => {
    await eventually(
      () => sink.records().filter(({ kind }) => kind === 'chunks').length >= count,
      'the chunk',
    );
    await sleep(20);
  };
  say('Hello ');
  await kept(1);
  expect(await takes()).toBe('Hello ');
  say('ada@exam');
  await kept(2);
  expect(textIn(dataOf(sink.records()))).toBe('Hello ');
  expect(await takes()).toBe('');
  say('ple.com, ');
  await kept(3);
  expect(textIn(dataOf(sink.records()))).toBe('Hello [email], ');
  expect(await takes()).toBe('ada@example.com, ');
  say('bye');
  end();
  await eventually(() => sink.records().some(({ kind }) => kind === 'end'), 'the end');
  expect(textIn(dataOf(sink.records()))).toBe('Hello [email], bye');
  expect(await takes()).toBe('bye');
});

test('promise 12: what the provider says instead of an answer waits for the gate; what the gateway says does not', async () => {
  const { sink, tap } = openTap({ gate: true });
  const { streams } = openStreams([tap]);
  const letGo = Promise.withResolvers<void>();
  sink.pause = () => letGo.promise;
  const end = (stream: GatewayStream): void =>
    streams.ended(stream, { state: 'failed', error: new GatewayError('upstream_invalid', 'Status 429.') });
  const refused = streams.open(nobody);
  refused.asked();
  refused.isAnswered = true;
  end(refused);
  let isTold = false;
  refused.started.catch(() => (isTold = true));
  const silent = streams.open(nobody);
  silent.asked();
  end(silent);
  await expect(silent.started).rejects.toMatchObject({ code: 'upstream_invalid' });
  await sleep(20);
  expect(isTold).toBe(false);
  letGo.resolve();
  await expect(within(refused.started, 'the answer')).rejects.toMatchObject({ code: 'upstream_invalid' });
  expect(sink.records(refused.id).map(({ kind }) => kind)).toEqual(['begin', 'end']);
});

/** What a reader and a tap get of a body in pieces. */
async function tapBody(
  whole: string,
  options: Partial<RecordTapOptions>,
  pieceBytes = 7,
): Promise<{ readonly got: string; readonly records: readonly TapRecord[] }> {
  const { sink, tap } = openTap(options);
  const { defects, streams } = openStreams([tap]);
  const stream = streams.open(nobody);
  const channel = openRunChannel(65_536, new RunMemory(), undefined, nodeClock);
  const body = {
    isEvents: false,
    format: undefined,
    status: 200,
    reason: '',
    headers: {},
    maxWaitingBytes: 65_536,
  };
  stream.start({ ...body, log: channel }, nodeClock.nowMs());
  const reader = stream.body?.log.reader({ overflow: 'block' });
  let got = '';
  const reading = (async () => {
    for await (const run of reader ?? []) got += Buffer.from(run.bytes).toString();
  })();
  for (let at = 0; at < whole.length; at += pieceBytes) {
    const bytes = Buffer.from(whole.slice(at, at + pieceBytes));
    await within(channel.write({ bytes, byteLength: bytes.length, events: 0 }), 'room for the next piece');
  }
  channel.complete();
  streams.ended(stream, { state: 'completed', error: undefined });
  await within(reading, 'the whole body');
  await eventually(() => sink.records().some(({ kind }) => kind === 'end'), 'the end');
  expect(defects).toEqual([]);
  return { got, records: sink.records() };
}

function chunksOf(records: readonly TapRecord[]): (TapRecord & { readonly kind: 'chunks' })[] {
  return records.filter((record) => record.kind === 'chunks');
}

/** Chunks without a gap between them, from the first offset to that of the end. */
function expectWhole(records: readonly TapRecord[]): void {
  let to = 0;
  for (const chunks of chunksOf(records)) {
    expect(chunks.from).toBe(to);
    to = chunks.to;
  }
  expect(records.find((record) => record.kind === 'end')?.offset).toBe(to);
}

const redactEmail = { redact: [redactionRules.email] } as const;
const largeBody = JSON.stringify({ words: 'ada@example.com '.repeat(5000) });

test('a large body that is redacted behind a gate comes through while it comes, and is kept up to the bound', async () => {
  const { got, records } = await tapBody(largeBody, { ...redactEmail, gate: true });
  expect(got).toBe(largeBody);
  expect(dataOf(records)).toBe(largeBody.replaceAll('ada@example.com', '[email]'));
  expectWhole(records);
  const bounded = await tapBody(largeBody, { ...redactEmail, gate: true, maxRecordBytes: 40_000 });
  expect(bounded.got).toBe(largeBody);
  expectWhole(bounded.records);
  const kept = dataOf(bounded.records);
  expect(largeBody.replaceAll('ada@example.com', '[email]').startsWith(kept)).toBe(true);
  expect(kept.length).toBeGreaterThan(15_000);
  const sizes = chunksOf(bounded.records).map(({ bytes = 0 }) => bytes);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeGreaterThan(largeBody.length - 40_008);
  expect(JSON.stringify(bounded.records)).not.toMatch(/ada@example|sha256/);
});

test('a body in many small pieces whose texts are kept behind a gate comes through, and of what is too much the size is kept', async () => {
  const { got, records } = await tapBody(largeBody, { ...redactEmail, gate: true, content: 'text' });
  expect(got).toBe(largeBody);
  expectWhole(records);
  const sizes = chunksOf(records).map(({ bytes = 0 }) => bytes);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(largeBody.length);
});

test('what has nothing to keep is no record of its own: offsets go on in the next one', async () => {
  const { records } = await tapBody(largeBody, redactEmail, 700);
  expect(chunksOf(records)).toHaveLength(1);
  expect(dataOf(records)).toBe(largeBody.replaceAll('ada@example.com', '[email]'));
  expectWhole(records);
  const large = await tapBody(largeBody, { ...redactEmail, maxRecordBytes: 4096, overflow: 'block' });
  expect(chunksOf(large.records)).toHaveLength(1);
  expect(chunksOf(large.records).reduce((sum, { bytes = 0 }) => sum + bytes, 0)).toBe(largeBody.length);
  expectWhole(large.records);

  const { sink, tap } = openTap({ content: 'text' });
  const { streams } = openStreams([tap]);
  const { channel, end, say, stream } = startStream(streams, { detach: 'finish' });
  const silent = Buffer.from('data: {"choices":[],"x":1}\n\n');
  const wordless = (): unknown => channel.offer({ bytes: silent, byteLength: silent.length, events: 1 });
  for (let event = 0; event < 5; event += 1) {
    wordless();
    // Time for a write of its own.
    await sleep(20);
  }
  expect(chunksOf(sink.records())).toEqual([]);
  say('one ');
  await eventually(() => chunksOf(sink.records()).length === 1, 'the first word');
  wordless();
  end();
  await eventually(() => sink.records(stream.id).some(({ kind }) => kind === 'end'), 'the end');
  expect(chunksOf(sink.records())).toMatchObject([
    { events: 6, from: 0, text: { 'choices.0.content': 'one ' }, to: 6 },
    { events: 1, from: 6, to: 7 },
  ]);
});

test('the times of the records of a stream never go back', async () => {
  let dateMs = 5000;
  const clock: ServerClock = Object.create(nodeClock, { dateMs: { value: () => dateMs } }) as ServerClock;
  const { sink, tap } = openTap({ clock });
  const { streams } = openStreams([tap]);
  const url = await serveStreams(streams);
  const { end, say, stream } = startStream(streams, { detach: 'finish' });
  let letGo = Promise.withResolvers<void>();
  sink.pause = () => letGo.promise;
  const live = fetch(url + stream.url, events);
  await eventually(() => sink.writes === 1, 'the first write');
  say('one ');
  dateMs = 6000;
  end();
  await (await live).text();
  await eventually(() => stream.readerCount === 1 && stream.audience.readers.size === 0, 'the reader’s end');
  // The sink is late, and then the clock is set back.
  dateMs = 9000;
  letGo.resolve();
  letGo = Promise.withResolvers();
  letGo.resolve();
  await eventually(() => sink.records().some(({ kind }) => kind === 'reader'), 'the reader');
  dateMs = 1000;
  await (await fetch(url + stream.url)).text();
  await eventually(() => sink.records().at(-1)?.kind === 'reader' && sink.records().length === 6, 'the part');
  expect(sink.records().map(({ at, kind }) => `${kind} ${at}`)).toEqual([
    'begin 5000',
    'answer 5000',
    'chunks 6000',
    'end 6000',
    'reader 6000',
    'reader 6000',
  ]);
});

test('a sink that keeps nothing costs a bounded number of streams that are over, and what is beyond it is counted', async () => {
  const { sink, tap } = openTap({ overflow: 'drop-oldest', maxRecords: 10, deadlineMs: 100 });
  const { defects, streams } = openStreams([tap]);
  let isHanging = true;
  sink.pause = () => (isHanging ? new Promise(() => undefined) : Promise.resolve());
  const first = startStream(streams, { detach: 'finish' });
  first.end();
  await within(first.stream.delivered, 'the first one to be given up');
  for (let count = 0; count < 50; count += 1) {
    const { end, say, stream } = startStream(streams, { detach: 'finish' });
    say('words ');
    end();
    await within(stream.delivered, 'the stream’s place');
  }
  expect(tap.figures.lag.records).toBeLessThan(60);
  expect(tap.figures.lost).toBeGreaterThanOrEqual(40);
  isHanging = false;
  await eventually(() => tap.figures.lag.records === 0, 'what waits');
  const ends = sink.records().filter(({ kind }) => kind === 'end');
  // The first one was being written.
  expect(ends.length).toBe(11);
  // There is room again.
  const { end } = startStream(streams, { detach: 'finish' });
  end();
  await eventually(() => sink.records().filter(({ kind }) => kind === 'end').length === 12, 'a later stream');
  expect(defects).toEqual([]);
});

test('a body in one piece is kept by a tap that makes nobody wait, as far as records go', async () => {
  const { sink, tap } = openTap({ overflow: 'drop-oldest', maxRecordBytes: 400_000 });
  const { defects, streams } = openStreams([tap]);
  sink.pause = () => sleep(50);
  const post = async (size: number): Promise<readonly TapRecord[]> => {
    const stream = streams.open({ ...nobody, detach: 'finish' });
    const channel = openRunChannel(49_152, new RunMemory(), undefined, nodeClock);
    const body = {
      isEvents: false,
      format: undefined,
      status: 200,
      reason: '',
      headers: {},
      maxWaitingBytes: 49_152,
    };
    stream.start({ ...body, log: channel }, nodeClock.nowMs());
    const bytes = Buffer.alloc(16_000, 'x');
    for (let sent = 0; sent < size; sent += bytes.length) {
      await within(channel.write({ bytes, byteLength: bytes.length, events: 0 }), 'room for the next piece');
      // As reads of a socket come.
      await new Promise(setImmediate);
    }
    channel.complete();
    streams.ended(stream, { state: 'completed', error: undefined });
    await eventually(() => sink.records(stream.id).some(({ kind }) => kind === 'end'), 'the end');
    return sink.records(stream.id);
  };
  const [small, large] = await Promise.all([post(320_000), post(1_600_000)]);
  expect(dataOf(small)).toBe('x'.repeat(320_000));
  expect(small.some(({ kind }) => kind === 'gap')).toBe(false);
  // Beyond what a record may have, a tap that lags loses what would be a digest.
  expect(dataOf(large).length).toBeGreaterThan(300_000);
  expect(defects).toEqual([]);
});
