import { describe, expect, test } from 'vitest';
import { replyText } from '../src/simulate/tokens.ts';
import { eventually, type RunningGateway, startBoth } from './support/processes.ts';
import { metric, postChat } from './support/requests.ts';
import { chatRequest, newReader, openSession, type RawSession } from './support/session.ts';
import { contentIn, openStream, wholeStream } from './support/stream-url.ts';
import { within } from '../../core/test/support/within.ts';

/** It fits into a window, so that its provider is done before anybody has read it. */
const answer = 'sim:tokens=120,tps=0,ttft=0';
const answerText = replyText(120, 0);

/** Room for large events would hide that others hold too much. */
const noLargeEvents = ['--max-event-bytes', '4096', '--max-event-memory-bytes', '4096'];

function figure(gateway: RunningGateway, name: string): Promise<number> {
  return metric(gateway.adminUrl, `spillway_${name}`);
}

async function statusOf(url: string, headers: Record<string, string> = {}): Promise<number> {
  return (await fetch(url, { headers })).status;
}

/** Never more than what is told, whatever is asked. */
async function checkHeld(gateway: RunningGateway): Promise<void> {
  expect(await figure(gateway, 'held_bytes')).toBeLessThanOrEqual(await figure(gateway, 'held_limit_bytes'));
}

/** Consumes all that has come so far of some streams. */
function consume(session: RawSession, streams: readonly number[], acked: Map<number, number>): void {
  for (const stream of streams) {
    const offset = session.offset(stream);
    if (offset === (acked.get(stream) ?? 0)) continue;
    acked.set(stream, offset);
    session.send({ type: 'ack', stream, offset });
  }
}

/** Streams of a session that acknowledges nothing: with a small window a part of its answer is sent, with a large one all of it. */
function askFor(
  session: RawSession,
  windows: readonly number[],
  { model = answer }: { readonly model?: string } = {},
): number[] {
  return windows.map((windowBytes, index) => {
    const stream = index + 1;
    session.send(chatRequest(model, { stream, windowBytes }));
    return stream;
  });
}

function urlOf(session: RawSession, stream: number): string {
  return session.of('response', stream)[0]?.url ?? '';
}

/** One more reader of a stream, which acknowledges nothing. */
function readAgain(
  session: RawSession,
  stream: number,
  url: string,
  more: { readonly maxBytes?: number; readonly merges?: boolean } = {},
): void {
  const frame = { type: 'read', stream, reader: newReader(), windowBytes: 1024, url, headers: {} };
  session.send({ ...frame, from: 'start', overflow: 'coalesce', ...more });
}

async function readToEnd(session: RawSession, streams: readonly number[]): Promise<void> {
  const acked = new Map<number, number>();
  await eventually(() => {
    consume(session, streams, acked);
    return streams.every((stream) => session.of('end', stream).length === 1);
  }, 'all of them to be read');
}

describe('promise 1: what outlives its model', () => {
  test('keeps its place until it is read, loses nothing, and pushes out nothing that can be read again', async () => {
    const args = '--max-streams 10 --max-retained-bytes 200000 --wait-timeout-ms 60000';
    const { gateway } = await startBoth([...args.split(' '), ...noLargeEvents]);
    const { url } = await wholeStream(gateway.url, answer);
    const session = await openSession(gateway.url);
    const streams = askFor(session, Array.from({ length: 20 }, () => [1024, 65_536]).flat());
    await eventually(async () => {
      const draining = await figure(gateway, 'streams{state="draining"}');
      // Two have room without a place.
      expect(draining).toBeLessThanOrEqual(12);
      return draining >= 10 && draining + (await figure(gateway, 'streams{state="waiting"}')) === 40;
    }, 'the models of ten to be done, and nobody else to have begun');
    await checkHeld(gateway);
    expect(await figure(gateway, 'held_bytes')).toBeGreaterThan(50_000);
    expect(await statusOf(url)).toBe(200);

    const acked = new Map<number, number>();
    await eventually(async () => {
      await checkHeld(gateway);
      consume(session, streams, acked);
      return streams.every((stream) => session.of('end', stream).length === 1);
    }, 'all forty to be read');
    for (const stream of streams) expect(contentIn(session.text(stream))).toBe(answerText);
    await checkHeld(gateway);
    expect(await figure(gateway, 'retained_bytes')).toBeLessThanOrEqual(200_000);
  });

  const ends = [
    ['is ended', (_session: RawSession) => undefined],
    ['leaves', (session: RawSession) => session.send({ type: 'detach', stream: 1 })],
    ['loses its connection and does not come back', (session: RawSession) => session.socket.terminate()],
  ] as const;

  test.each(
    ends.flatMap(([what, end]) => [1024, 65_536].map((windowBytes) => [what, windowBytes, end] as const)),
  )('gives its place back when its reader %s, with a window of %i bytes', async (_what, windowBytes, end) => {
    const args =
      '--max-streams 1 --wait-timeout-ms 60000 --stall-timeout-ms 1000 --pause-ms 1000 --detach-grace-ms 500';
    const { gateway } = await startBoth([...args.split(' '), '--max-retained-bytes', '0']);
    const session = await openSession(gateway.url);
    askFor(session, [windowBytes]);
    await eventually(
      async () => (await figure(gateway, 'streams{state="draining"}')) === 1,
      'the model to be done',
    );
    const next = postChat(gateway.url, answer);
    await eventually(
      async () => (await figure(gateway, 'streams{state="waiting"}')) === 1,
      'another one to wait for the place',
    );
    end(session);
    const nextText = next.then((response) => response.text());
    expect(contentIn(await within(nextText, 'the place'))).toBe(answerText);
  });

  test('needs no place while there is other room for it, of which each client has its share', async () => {
    const env = { SPILLWAY_API_KEYS: 'greedy,other' };
    const args = '--max-streams 10 --max-waiting 50 --max-retained-bytes 800000 --wait-timeout-ms 60000';
    const { gateway } = await startBoth([...args.split(' '), ...noLargeEvents], { env });
    const small = 'sim:tokens=3,tps=0,ttft=0';
    const ask = async (key: string, count: number): Promise<void> => {
      const headers = { authorization: `Bearer ${key}` };
      const session = await openSession(gateway.url);
      for (let stream = 1; stream <= count; stream += 1)
        session.send(chatRequest(small, { stream, headers }));
    };
    // Seven or so have room in two thirds of a quarter; the others have places.
    await ask('greedy', 13);
    await eventually(
      async () => (await figure(gateway, 'streams{state="draining"}')) === 13,
      'its models to be done',
    );
    await ask('other', 2);
    await eventually(
      async () => (await figure(gateway, 'streams{state="draining"}')) === 15,
      'the other’s, too',
    );
    expect(await figure(gateway, 'streams{state="waiting"}')).toBe(0);
    // More take the places that are left, and then wait.
    await ask('greedy', 10);
    await eventually(
      async () => (await figure(gateway, 'streams{state="waiting"}')) > 0,
      'places to be taken',
    );
    await checkHeld(gateway);
    expect(await figure(gateway, 'retained_bytes')).toBeLessThanOrEqual(200_000);
  });

  test('second readers without a connection have a part of that room; who finds none reads on by the URL', async () => {
    // A client has two thirds of a quarter: room for four readers.
    const { gateway } = await startBoth(['--max-retained-bytes', '400000']);
    const { response, url } = await openStream(gateway.url, 'sim:ttft=0,tps=50,tokens=100000');
    const lost = await openSession(gateway.url);
    const readers = Array.from({ length: 10 }, () => newReader());
    const frame = { headers: {}, windowBytes: 1024, url: new URL(url).pathname };
    for (const [index, reader] of readers.entries()) {
      lost.send({ type: 'read', stream: index + 1, reader, ...frame, from: 'start', overflow: 'coalesce' });
    }
    await eventually(() => lost.of('response').length === 10, 'all of them to begin');
    lost.socket.terminate();
    await eventually(async () => (await figure(gateway, 'readers')) === 5, 'those without room to be gone');
    const held = await figure(gateway, 'retained_bytes');
    expect(held).toBeGreaterThan(50_000);
    expect(held).toBeLessThanOrEqual(66_667);
    const back = await openSession(gateway.url);
    for (const [index, reader] of readers.entries()) {
      back.send({ type: 'resume', stream: index + 1, reader, headers: {}, offset: 0, acked: 0 });
    }
    await eventually(
      () => back.of('response').length === 4 && back.of('error').length === 6,
      'four to come back, and six to hear that they cannot',
    );
    expect(new Set(back.of('error').map(({ code }) => code))).toEqual(new Set(['unknown_reader']));
    expect(await figure(gateway, 'retained_bytes')).toBe(0);
    readAgain(back, 11, frame.url);
    await eventually(() => back.of('response', 11).length === 1, 'one of them to read on by the URL');
    // Four of them are kept again, and leave nothing behind.
    back.socket.terminate();
    await eventually(async () => (await figure(gateway, 'retained_bytes')) === held, 'them to be kept again');
    await response.body?.cancel();
    await eventually(async () => (await figure(gateway, 'readers')) === 4, 'the first reader to leave');
  });

  test('second readers that do not come back give their room back', async () => {
    const { gateway } = await startBoth(['--detach-grace-ms', '500']);
    const { response, url } = await openStream(gateway.url, 'sim:ttft=0,tps=50,tokens=100000');
    const lost = await openSession(gateway.url);
    readAgain(lost, 1, new URL(url).pathname);
    await eventually(() => lost.data.length > 0, 'it to begin');
    lost.socket.terminate();
    await eventually(async () => (await figure(gateway, 'retained_bytes')) > 13_312, 'it to be kept');
    await eventually(async () => (await figure(gateway, 'retained_bytes')) === 0, 'its time to be over');
    expect(await figure(gateway, 'readers')).toBe(1);
    await response.body?.cancel();
  });

  test('a second reader waits for no more than the channel may hold', async () => {
    const { gateway } = await startBoth([
      '--max-streams',
      '3',
      '--max-retained-bytes',
      '0',
      ...noLargeEvents,
    ]);
    const session = await openSession(gateway.url);
    const streams = askFor(session, [65_536, 65_536, 65_536], { model: 'sim:ttft=0,tps=500,tokens=100000' });
    await eventually(
      () => streams.every((stream) => session.of('response', stream).length === 1),
      'all of them to begin',
    );
    for (const stream of streams) {
      readAgain(session, stream + 10, urlOf(session, stream), { maxBytes: 65_536, merges: false });
    }
    const acked = new Map<number, number>();
    await eventually(async () => {
      consume(session, streams, acked);
      await checkHeld(gateway);
      // They stay full, and the first readers do not.
      if ((await figure(gateway, 'waiting_bytes')) < 3 * 40_000) return false;
      return (await figure(gateway, 'streams{state="paused"}')) === 3;
    }, 'all models to wait for the second readers');
    await checkHeld(gateway);
  });
});

describe('what is kept for who comes back', () => {
  test('is pushed out by nobody else: a greedy key has its share, and its own oldest go', async () => {
    const env = { SPILLWAY_API_KEYS: 'greedy,other' };
    const { gateway } = await startBoth(['--max-retained-bytes', '300000'], { env });
    const greedy = { authorization: 'Bearer greedy' };
    const other = { authorization: 'Bearer other' };
    const whole = async (headers: Record<string, string>): Promise<string> => {
      const { response, url } = await openStream(gateway.url, answer, { headers });
      await response.text();
      return url;
    };
    const kept = await whole(other);
    const urls: string[] = [];
    for (let count = 0; count < 40; count += 1) {
      urls.push(await whole(greedy));
      expect(await figure(gateway, 'retained_bytes')).toBeLessThanOrEqual(300_000);
    }
    expect(await statusOf(kept, other)).toBe(200);
    expect(await statusOf(urls[0] ?? '', greedy)).toBe(404);
    expect(await statusOf(urls.at(-1) ?? '', greedy)).toBe(200);
    expect(await figure(gateway, 'retained_dropped_total')).toBeGreaterThan(0);
    // It comes late, and there is room for it.
    expect(await statusOf(await whole(other), other)).toBe(200);
    expect(await statusOf(kept, other)).toBe(200);
  });

  test('is of an address, where nobody needs a key', async () => {
    const args = '--max-retained-bytes 200000 --trusted-proxies 127.0.0.1';
    const { gateway } = await startBoth(args.split(' '));
    const whole = async (address: string, key: string): Promise<string> => {
      const headers = { 'x-forwarded-for': address, authorization: `Bearer ${key}` };
      const { response, url } = await openStream(gateway.url, answer, { headers });
      await response.text();
      return url;
    };
    const kept = await whole('192.0.2.1', 'mine');
    // A key that nobody checks makes nobody another one.
    for (let count = 0; count < 30; count += 1) await whole('192.0.2.2', `key ${count}`);
    expect(await statusOf(kept, { authorization: 'Bearer mine' })).toBe(200);
    const late = { authorization: 'Bearer late' };
    expect(await statusOf(await whole('192.0.2.3', 'late'), late)).toBe(200);
  });

  test('stays while somebody reads it again, whatever its owner asks for meanwhile', async () => {
    const { gateway } = await startBoth(['--max-retained-bytes', '200000']);
    // In many small chunks, so that what is read of it leaves something to be read.
    const { url } = await wholeStream(gateway.url, 'sim:tokens=30,tps=1000,ttft=0');
    const session = await openSession(gateway.url);
    readAgain(session, 1, new URL(url).pathname);
    await eventually(() => session.data.length > 0, 'it to begin');
    const urls: string[] = [];
    for (let count = 0; count < 30; count += 1) urls.push((await wholeStream(gateway.url, answer)).url);
    expect(await statusOf(urls[0] ?? '')).toBe(404);
    expect(await statusOf(url)).toBe(200);
    expect(await figure(gateway, 'retained_bytes')).toBeLessThanOrEqual(200_000);
    await readToEnd(session, [1]);
    expect(contentIn(session.text(1))).toBe(replyText(30, 0));
    await eventually(async () => {
      await wholeStream(gateway.url, answer);
      return (await statusOf(url)) === 404;
    }, 'it to go like the others');
  });

  test('has its URL for retainMs, and who reads it by then reads on', async () => {
    const { gateway } = await startBoth(['--retain-ms', '1000']);
    const session = await openSession(gateway.url);
    askFor(session, [1024]);
    await eventually(() => session.data.length > 0, 'it to begin');
    const url = gateway.url + urlOf(session, 1);
    await eventually(async () => (await statusOf(url)) === 404, 'its time to be over');
    expect(await figure(gateway, 'streams{state="draining"}')).toBe(1);
    await readToEnd(session, [1]);
    expect(contentIn(session.text(1))).toBe(answerText);
    expect(await figure(gateway, 'held_bytes')).toBe(0);
  });
});
