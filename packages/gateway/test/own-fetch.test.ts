import { openaiChat } from '@spillway/core/format/openai-chat';
import { GatewayError } from '@spillway/server/errors';
import { EventMemory } from '@spillway/server/memory/event-memory';
import { LargeRun } from '@spillway/server/memory/large-run';
import { LimitError } from '@spillway/server/limit/limit-error';
import { nodeClock } from '@spillway/server/time/node-clock';
import { describe, expect, test } from 'vitest';
import { openOwnFetch, ownUrl } from '../src/voice/own-fetch.ts';
import { OwnResponse } from '../src/voice/own-response.ts';
import { type OwnStream, startOwnStream } from './support/own-stream.ts';
import { eventually } from './support/processes.ts';

const event = (text: string): string => `data: {"choices":[{"delta":{"content":"${text}"}}]}\n\n`;
const url = `${ownUrl}/v1/chat/completions`;

interface Asked {
  readonly own: OwnStream;
  readonly limits: LimitError[];
  readonly ask: (init?: RequestInit) => Promise<Response>;
}

/** Asks for a stream that the test writes, or for what `refuse` throws. */
async function open(refuse?: () => never): Promise<Asked> {
  // Clients may come back for what is finished. A call does not.
  const own = await startOwnStream({ detach: 'finish' });
  const limits: LimitError[] = [];
  const ownFetch = openOwnFetch({
    caller: { name: 'clinic', tenant: 'clinic', owner: undefined },
    clock: nodeClock,
    onLimit: (error) => void limits.push(error),
    requestId: 'CA1',
    requests: {
      read: () => ({ errors: openaiChat, queryKey: undefined, open: () => refuse?.() ?? own.stream }),
    },
  });
  const ask = (init: RequestInit = {}): Promise<Response> =>
    ownFetch(url, { method: 'POST', body: '{}', ...init });
  return { own, limits, ask };
}

/** What waits for the reader of a stream outside of its channel, in bytes. */
function keptBytes({ stream }: OwnStream): number {
  return [...stream.audience.readers].reduce((sum, { response }) => sum + response.keptBytes, 0);
}

const limit = (scope: 'answer' | 'tenant'): LimitError =>
  new LimitError(
    { scope, name: 'tokensPerDay', value: 1, used: 1, resetMs: undefined },
    'The tenant clinic has used up its tokens.',
  );

describe('an answer that this process asks itself for', () => {
  test('is read as it comes, and is whole with its last event', async () => {
    const { ask, own } = await open();
    own.say(event('One.'));
    const response = await ask();
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    own.say(event('Two.'));
    own.say('data: [DONE]\n\n');
    own.channel.complete();
    expect(await response.text()).toBe(`${event('One.')}${event('Two.')}data: [DONE]\n\n`);
    await eventually(() => own.stream.audience.ended.length === 1, 'the reader to be done');
    expect(own.stream.audience.ended[0]?.reason).toBe('delivered');
    expect(own.stream.signal.aborted).toBe(false);
  });

  test('is taken from its stream no faster than it is read: at most 4 KiB and one write wait', async () => {
    const { ask, own } = await open();
    const large = event('x'.repeat(4000));
    for (let count = 0; count < 20; count += 1) own.say(large);
    const response = await ask();
    await eventually(() => keptBytes(own) > 0, 'something to wait');
    const [reader] = own.stream.audience.readers;
    await eventually(() => (reader?.waitingItems ?? 0) > 0 && keptBytes(own) >= 4096, 'it to be full');
    // One write is 32 KiB and the event that goes beyond it.
    expect(keptBytes(own)).toBeLessThan(4096 + 32_768 + large.length);
    expect(reader?.waitsFor).toBe('link');
    own.channel.complete();
    // What waits may be merged: its words are all there.
    expect((await response.text()).replaceAll(/[^x]/g, '').length).toBe(20 * 4000);
  });

  test('that is not read for long is no reader that has stalled', async () => {
    const { ask, own } = await open();
    own.say(event('x'.repeat(5000)));
    own.say(event('y'));
    await ask();
    await eventually(() => keptBytes(own) > 0, 'something to wait');
    const [reader] = own.stream.audience.readers;
    const nowMs = nodeClock.nowMs();
    for (let s = 0; s < 120; s += 5) reader?.checkProgress(nowMs + s * 1000, undefined);
    expect(own.stream.audience.readers.size).toBe(1);
  });

  test('stops its provider at once when it is aborted, also where clients would be waited for', async () => {
    const { ask, own } = await open();
    own.say(event('One.'));
    const stop = new AbortController();
    const response = await ask({ signal: stop.signal });
    const read = response.text();
    stop.abort(new Error('the caller speaks'));
    expect(own.stream.signal.aborted).toBe(true);
    await expect(read).rejects.toThrow();
    const before = await open();
    await expect(before.ask({ signal: stop.signal })).rejects.toThrow('the caller speaks');
    expect(before.own.stream.audience.readers.size).toBe(0);
  });

  test('that nobody reads any more is stopped after a second, and is whole if it ends before', async () => {
    const [left, whole] = [await open(), await open()];
    for (const { own } of [left, whole]) own.say(event('One.'));
    const bodies = [(await left.ask()).body, (await whole.ask()).body];
    await Promise.all(bodies.map(async (body) => await body?.cancel()));
    expect(left.own.stream.signal.aborted).toBe(false);
    whole.own.channel.complete();
    await eventually(() => left.own.stream.signal.aborted, 'the one in its midst to be stopped');
    expect(whole.own.stream.signal.aborted).toBe(false);
    expect(whole.own.stream.audience.ended[0]?.reason).toBe('delivered');
  });

  test('that is refused is a response with the reason, and a limit is told to the call', async () => {
    for (const [scope, told] of [
      ['tenant', 1],
      ['answer', 0],
    ] as const) {
      const { ask, limits } = await open(() => {
        throw limit(scope);
      });
      const response = await ask();
      expect(response.status).toBe(429);
      expect(await response.text()).toContain('has used up its tokens');
      expect(limits).toHaveLength(told);
    }
    const { ask } = await open(() => {
      throw new TypeError('a defect');
    });
    await expect(ask()).rejects.toThrow('a defect');
  });

  test('that fails in its midst says so in an event, and one that a limit ends is told to the call', async () => {
    const { ask, limits, own } = await open();
    own.say(event('One.'));
    const response = await ask();
    own.channel.fail(new GatewayError('upstream_cut', 'The provider was cut.'));
    expect(await response.text()).toContain('The provider was cut.');
    own.stream.cancel(limit('tenant'));
    expect(limits).toHaveLength(1);
  });

  test('with a large event gives its room back when it is read, or is not wanted any more', async () => {
    const memory = new EventMemory({ maxBytes: 1_000_000, maxEventBytes: 100_000 });
    const runOf = (): LargeRun => {
      const bytes = Buffer.alloc(50_000, 'x');
      const place = memory.open('a');
      place.grow(() => undefined);
      return new LargeRun({ bytes, byteLength: bytes.length, events: 1 }, place);
    };
    const options = { clock: nodeClock, errors: openaiChat, onLeave: () => undefined };
    for (const end of ['read', 'left', 'closed'] as const) {
      const response = new OwnResponse(options);
      response.startEventStream({});
      const run = runOf();
      expect(response.write(run)).toBe(false);
      response.hold(run);
      run.release();
      expect(memory.heldBytes).toBeGreaterThan(0);
      const { body } = await response.answer;
      if (end === 'read') await body?.getReader().read();
      else if (end === 'left') await body?.cancel();
      else response.close(new GatewayError('client_left', 'It left.'));
      expect({ end, held: memory.heldBytes, kept: response.keptBytes }).toEqual({ end, held: 0, kept: 0 });
    }
  });
});
