import { once } from 'node:events';
import { zstdCompressSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { configSchema } from '../src/config/schema.ts';
import { GatewayError } from '@spillway/server/errors';
import { undoKnownCodings } from '../src/source/codings.ts';
import { collectReply } from '../src/source/collect-reply.ts';
import { heldDecoderBytes } from '../src/source/decoded-body.ts';
import { ProviderPools } from '../src/source/provider-pools.ts';
import { type Reply, sendRequest } from '../src/source/reply.ts';
import { formatAnswers, upstreamsAt } from './support/answers.ts';
import { startGateway } from './support/processes.ts';
import { startRawProvider, wholeAnswer } from './support/raw-provider.ts';
import { metric, postChat, rawChat } from './support/requests.ts';
import { chatRequest, openSession } from './support/session.ts';
import { eventually } from './support/spawn.ts';

/** Some 2 KB, of which hundreds of gigabytes would come. They are here with one read: no connection is left that could be closed. */
function endlessBody(text: string): Buffer {
  const frame = zstdCompressSync(Buffer.alloc(64 * 1024 * 1024, text));
  return zstdCompressSync(Buffer.concat(Array.from({ length: 4000 }, () => frame)));
}

/** The same, shorter: in one coding. */
const long = wholeAnswer(zstdCompressSync(Buffer.alloc(64 * 1024 * 1024, 'a')), {
  'content-type': 'application/json',
  'content-encoding': 'zstd',
});
const events = endlessBody('event: x\nid: 1\ndata: 1234567890 1234567890 12345\n\n'.padEnd(64, '\n'));
const letters = endlessBody('a');

function coded(body: Buffer, type: string, status?: string): Buffer {
  return wholeAnswer(body, { 'content-type': type, 'content-encoding': 'zstd, zstd' }, status);
}

describe('promise 1: what is still to be decoded of a whole body is not, and its memory is given back at once', () => {
  async function replyOf(bytes: Buffer, signal: AbortSignal): Promise<Reply> {
    const provider = await startRawProvider((_asked, socket) => socket.write(bytes));
    const pools = new ProviderPools(configSchema.parse({}), (error) => expect.unreachable(String(error)));
    onTestFinished(() => pools.destroy());
    const request = { method: 'GET', path: '/', headers: {}, body: null } as const;
    return await sendRequest(pools.get(provider.url, {}), request, signal);
  }

  const stop = new GatewayError('cancelled', 'The stream was cancelled.');

  test('when its stream is stopped', async () => {
    const stopping = new AbortController();
    const reply = await replyOf(coded(letters, 'application/json'), stopping.signal);
    await undoKnownCodings(reply);
    const begun = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<Error | undefined>();
    reply.consume({
      data: () => begun.resolve(),
      complete: () => ended.resolve(undefined),
      fail: ended.resolve,
    });
    await begun.promise;
    expect(heldDecoderBytes()).toBeGreaterThan(0);
    stopping.abort(stop);
    expect(heldDecoderBytes()).toBe(0);
    expect(await within(ended.promise, 'the end of the body')).toBe(stop);
  });

  test('when it was stopped before somebody takes it', async () => {
    const stopping = new AbortController();
    const reply = await replyOf(long, stopping.signal);
    await reply.peek(1_000_000, 10_000);
    expect(reply.isWhole).toBe(true);
    await undoKnownCodings(reply);
    stopping.abort(stop);
    const ended = Promise.withResolvers<Error | undefined>();
    reply.consume({ data: () => {}, complete: () => ended.resolve(undefined), fail: ended.resolve });
    expect(heldDecoderBytes()).toBe(0);
    expect(await within(ended.promise, 'the end of the body')).toBe(stop);
  });

  test('when somebody looks at its start', async () => {
    const stopping = new AbortController();
    const reply = await replyOf(coded(letters, 'application/json'), stopping.signal);
    await undoKnownCodings(reply);
    const start = reply.peek(Infinity, 60_000);
    await eventually(() => heldDecoderBytes() > 0, 'the decoder to begin');
    stopping.abort(stop);
    expect(heldDecoderBytes()).toBe(0);
    expect((await within(start, 'its start')).length).toBeGreaterThanOrEqual(0);
    expect(reply.isWhole).toBe(false);
  });

  test('when all of it is wanted', async () => {
    const stopping = new AbortController();
    const reply = await replyOf(coded(letters, 'application/json'), stopping.signal);
    const all = collectReply(reply, Number.MAX_SAFE_INTEGER, 60_000).catch((error: unknown) => error);
    await eventually(() => heldDecoderBytes() > 0, 'the decoder to begin');
    stopping.abort(stop);
    expect(heldDecoderBytes()).toBe(0);
    expect(await within(all, 'the end of the body')).toBe(stop);
  });
});

describe('promise 6: nothing is decoded for who has left, and others have the memory of the decoders', () => {
  const count = 20;
  const cases = [
    ['events', coded(events, 'text/event-stream')],
    ['another answer', coded(letters, 'application/json')],
    ['a refusal', coded(letters, 'application/json', '422 No')],
  ] as const;

  async function start(answer: Buffer): Promise<{ url: string; areGone: () => Promise<void> }> {
    let next = answer;
    const provider = await startRawProvider((_asked, socket) => socket.write(next));
    const bound = ['--max-stream-bytes', '9000000000000', '--log-level', 'silent'];
    const { adminUrl, url } = await startGateway(['--upstream', upstreamsAt(provider.url), ...bound]);
    const [{ events: parts }] = formatAnswers;
    const whole = parts.text + parts.reason + parts.marker;
    const ended = 'spillway_streams_ended_total{state="cancelled"}';
    return {
      url,
      async areGone() {
        const areEnded = eventually(async () => (await metric(adminUrl, ended)) === count, 'all to be ended');
        await within(areEnded, 'the end of all streams');
        next = coded(zstdCompressSync(zstdCompressSync(whole)), 'text/event-stream');
        expect(await (await postChat(url, 'm')).text()).toBe(whole);
      },
    };
  }

  test.each(cases)('%s, over a session', async (_name, answer) => {
    const { areGone, url } = await start(answer);
    const session = await openSession(url);
    for (let stream = 1; stream <= count; stream += 1) session.send(chatRequest('m', { stream }));
    for (let stream = 1; stream <= count; stream += 1) {
      await eventually(() => session.of('response', stream).length === 1, 'its answer');
      session.send({ type: 'cancel', stream });
    }
    await areGone();
  });

  // Refusals that are small are handed on to HTTP as they are.
  test.each(cases.slice(0, 2))('%s, by HTTP', async (_name, answer) => {
    const { areGone, url } = await start(answer);
    const clients = await Promise.all(
      Array.from({ length: count }, () => rawChat(url, 'm', { reads: false })),
    );
    for (const { received, socket } of clients) {
      socket.resume();
      await eventually(() => received().includes('HTTP/1.1'), 'its answer');
      socket.destroy();
      await once(socket, 'close');
    }
    await areGone();
  });
});
