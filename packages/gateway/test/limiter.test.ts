import { StreamLimits } from '@spillway/server/stream/stream-limits';
import { setTimeout as sleep } from 'node:timers/promises';
import { SpillwayError } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import type { Asker } from '@spillway/server/access/asker';
import { Defects } from '@spillway/server/defects';
import { LimitError } from '@spillway/server/limit/limit-error';
import type { GatewayStream } from '@spillway/server/stream/stream';
import { nodeClock } from '@spillway/server/time/node-clock';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { expect, onTestFinished, test } from 'vitest';
import { openStreams, startStream, type WrittenStream } from '../../server/test/support/own-streams.ts';
import type { LimitSettings, TenantLimits } from '../src/config/limits.ts';
import type { Settlement } from '../src/limit/lease-host.ts';
import type { ConversationLease } from '../src/limit/conversation-lease.ts';
import { HeldLimits } from '../src/limit/held-limits.ts';
import { Limiter } from '../src/limit/limiter.ts';
import type { RequestLease } from '../src/limit/request-lease.ts';
import { within } from '../../core/test/support/within.ts';
import { type FailingLimitStore, openFailingLimitStore } from './support/failing-limit-store.ts';
import { eventually } from './support/spawn.ts';

const none: TenantLimits = { priority: 'normal', answer: {}, user: {}, session: {} };

interface Opened {
  readonly limiter: Limiter;
  readonly settings: LimitSettings;
  readonly failing: FailingLimitStore;
  readonly settled: Settlement<RequestLease>[];
  /** The tenants that went beyond a limit, with the tokens. */
  readonly overshot: [string, number][];
  /** A lease that is opened, and the stream that has it. */
  readonly start: (name?: string) => Promise<WrittenStream & { readonly lease: RequestLease }>;
  /** Ends a stream, and settles. */
  readonly end: (running: {
    readonly stream: GatewayStream;
    readonly lease: RequestLease;
    readonly end: () => void;
  }) => void;
}

function open(
  limits: Partial<TenantLimits>,
  more: Partial<LimitSettings> = {},
  clock: ServerClock = nodeClock,
  waitTimeoutMs = 5000,
  defects = new Defects({
    error: ({ where, err }) => expect.unreachable(`${String(where)}: ${String(err)}`),
  }),
): Opened {
  const failing = openFailingLimitStore(clock);
  const settled: Settlement<RequestLease>[] = [];
  const overshot: [string, number][] = [];
  const settings: LimitSettings = {
    tenants: new Map([['clinic', { ...none, ...limits }]]),
    others: undefined,
    keys: new Map(),
    callers: [],
    minAnswerTokens: 10,
    userFrom: [{ kind: 'header', name: 'spillway-user' }],
    sessionFrom: [],
    maxUsers: 100,
    prices: [],
    speechPrices: [],
    currency: '',
    store: undefined,
    storePassword: undefined,
    whenStoreFails: 'closed',
    ...more,
  };
  const limiter = new Limiter({
    settings,
    store: failing.store,
    clock,
    defects,
    config: { maxWaiting: 10, waitTimeoutMs },
    observer: {
      settled: (one) => settled.push(one),
      overshot: (tenant, tokens) => overshot.push([tenant, tokens]),
    },
  });
  onTestFinished(async () => {
    await limiter.close();
    await failing.store.close();
  });
  const { streams } = openStreams();
  return {
    limiter,
    settings,
    failing,
    settled,
    overshot,
    async start(name = '') {
      const lease = limiter.lease(request, asker(name));
      if (lease === undefined) throw new Error('the tenant has limits');
      await lease.open(new AbortController().signal);
      const running = startStream(streams);
      running.stream.limits = new StreamLimits(running.stream.signal, { limit: lease });
      await lease.enter(running.stream);
      return { ...running, lease };
    },
    end({ end, lease }) {
      end();
      lease.settle(undefined);
    },
  };
}

const request = {
  route: { format: openaiChat },
  model: 'gpt',
  method: 'POST',
  path: '/v1/chat/completions',
  provider: { name: 'openai' },
  isFirstProvider: true,
  wantsEvents: true,
  members: undefined,
  promptTokens: 4,
};

function asker(user: string): Asker {
  return {
    headers: user === '' ? {} : { 'spillway-user': user },
    caller: { name: 'clinic/front', tenant: 'clinic', owner: 'clinic/front' },
    address: '127.0.0.1',
  };
}

/** Says so many tokens, as a provider that is read while it may be. Returns how many came. */
function say(
  { lease, say: speak, stream }: WrittenStream & { readonly lease: RequestLease },
  tokens: number,
): number {
  for (let said = 0; said < tokens; said += 1) {
    if (lease.isShort || stream.signal.aborted) return said;
    speak('x');
    lease.received(stream.events, stream.bytes, stream.large);
  }
  return tokens;
}

/** Where a defect is what is expected. */
const silent = (): Defects => new Defects({ error: () => undefined });

const turn = (): Promise<void> => sleep(0);

test('a tenant that hammers asks the store once, until something may come back', async () => {
  const { failing, limiter, start } = open({ requests: { perSecond: 1, burst: 1 } });
  await start();
  for (let tries = 0; tries < 100; tries += 1) await expect(start()).rejects.toThrow(LimitError);
  expect(failing.calls.open).toBe(2);
  expect(limiter.refusal(asker('').caller, request)?.message).toContain('(requests)');
});

test('a store that has lost what was used is believed within seconds, and one request at a time asks it', async () => {
  let skippedMs = 0;
  const clock = Object.assign(Object.create(nodeClock) as ServerClock, {
    nowMs: () => nodeClock.nowMs() + skippedMs,
  });
  const { end, failing, limiter, start } = open({ tokensPerDay: 20 }, {}, clock);
  const first = await start();
  say(first, 100);
  end(first);
  await eventually(() => failing.calls.settle === 1, 'it to be settled');
  await expect(start()).rejects.toThrow(LimitError);
  const { open: asked } = failing.calls;
  const { caller } = asker('');
  for (let seconds = 0; seconds < 50; seconds += 5) {
    expect(limiter.refusal(caller, request)).toBeInstanceOf(LimitError);
    skippedMs += 5000;
    expect(limiter.refusal(caller, request)).toBeUndefined();
    const tries = await Promise.allSettled(Array.from({ length: 20 }, () => start()));
    expect(tries.every(({ status }) => status === 'rejected')).toBe(true);
  }
  expect(failing.calls.open).toBe(asked + 10);
  failing.forget();
  skippedMs += 5000;
  end(await start());
  expect(limiter.refusal(caller, request)).toBeUndefined();
});

test('what its headers say of limits costs a request no call of the store', async () => {
  const { end, failing, start } = open(
    {
      requests: { perSecond: 1, burst: 10 },
      tokensPerDay: 3000,
      costPerDay: 10,
      tokensPerMonth: 2000,
    },
    { prices: [{ model: '*', sinceMs: 0, input: 0, output: 0 }] },
  );
  end(await start());
  await eventually(() => failing.calls.settle === 1, 'the first to be settled');
  await turn();
  const running = await start();
  expect(running.lease.headers(openaiChat)).toMatchObject({
    'x-ratelimit-limit-requests': '10',
    'x-ratelimit-remaining-requests': '8',
    'x-ratelimit-limit-tokens': '2000',
    'x-ratelimit-remaining-tokens': '1871',
  });
  end(running);
  await eventually(() => failing.calls.settle === 2, 'both to be settled');
  expect(failing.calls).toEqual({ open: 2, extend: 0, settle: 2, read: 0, renew: 0 });
});

test('what others have reserved may come back: a request waits for it, and gets it when they end', async () => {
  // No other process gives anything back, so nobody has to ask for it now and then.
  const timer = { stop: () => undefined, unref: () => timer };
  const clock = Object.assign(Object.create(nodeClock) as ServerClock, { after: () => timer });
  const { end, limiter, start } = open({ tokensPerDay: 20 }, {}, clock);
  const first = await start();
  let isThere = false;
  const second = start().then((running) => {
    isThere = true;
    return running;
  });
  await eventually(() => limiter.queue.size === 1, 'the second to wait');
  expect(isThere).toBe(false);
  end(first);
  // The first has used its prompt alone.
  end(await second);
  expect(limiter.queue.size).toBe(0);
});

test('who waited in vain for what others have reserved may try again at once, and nobody is refused until tomorrow', async () => {
  const { limiter, start } = open({ tokensPerDay: 20 }, {}, nodeClock, 300);
  await start();
  const error: unknown = await start().catch((thrown: unknown) => thrown);
  if (!(error instanceof LimitError)) throw error;
  expect(error.message).toBe(
    'The tenant clinic has used 0 of 20 tokens today, and 14 are reserved; this request needs 14, with minAnswerTokens, and 6 are left (tokensPerDay). What running answers do not use comes back when they end: try again soon.',
  );
  expect(error).toMatchObject({ status: 429, retryAfterS: 1, isFinal: false });
  expect(error.reached.resetMs).toBeUndefined();
  expect(limiter.refusal(asker('').caller, request)).toBeUndefined();
});

test('money that is reserved is not used up: no 402, and another try makes sense', async () => {
  const prices = [{ model: '*', sinceMs: 0, input: 1_000_000, output: 1_000_000 }];
  const { start } = open({ costPerDay: 20 }, { prices }, nodeClock, 300);
  await start();
  await expect(start()).rejects.toMatchObject({ status: 429, retryAfterS: 1, isFinal: false });
});

test('a request that never fits is told so, and not to come back tomorrow', async () => {
  const { limiter, start } = open({ tokensPerDay: 13 });
  const error: unknown = await start().catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ status: 429, retryAfterS: undefined, isFinal: true });
  expect((error as LimitError).message).toBe(
    'The tenant clinic may use 13 tokens a day, and this request needs 14, with minAnswerTokens: it never fits (tokensPerDay). A shorter prompt may fit, or a higher limit.',
  );
  expect(limiter.refusal(asker('').caller, request)).toBeUndefined();
});

test('what goes beyond a reservation is beyond a limit only where no more was left', async () => {
  const { failing, overshot, settled, start } = open({ tokensPerDay: 2000 });
  const first = await start();
  first.end();
  first.lease.settle({ inputTokens: 4, outputTokens: 500 });
  await eventually(() => failing.calls.read > 0, 'the state to be read');
  expect(settled[0]?.excess).toMatchObject([{ tokens: 504 - 125 }]);
  const second = await start();
  second.end();
  second.lease.settle({ inputTokens: 4, outputTokens: 1600 });
  await eventually(() => overshot.length > 0, 'it to be counted');
  expect(overshot).toEqual([['clinic', 504 + 1604 - 2000]]);
});

test.each([
  ['requests', { requests: { perSecond: 10, burst: 10 } }],
  ['one answer', { answer: { tokens: 50 } }],
  ['a pace', { answer: { tokensPerSecond: 1000 } }],
] as const)('of %s alone, a prompt is counted too', async (_what, limits) => {
  const { settled, start } = open(limits);
  const { end, lease, stream } = await start();
  stream.asked();
  end();
  expect(lease.settle(undefined)).toMatchObject({ inputTokens: 4, estimatedTokens: 4 });
  expect(settled).toHaveLength(1);
});

test('an answer that its time ends says what it has used; a prompt that cannot be counted is left out', async () => {
  const { limiter, start } = open({ answer: { ms: 1 } });
  const running = await start();
  say(running, 7);
  expect(running.lease.counted).toEqual({ inputTokens: 4, outputTokens: 7 });
  const upload = { ...request, promptTokens: 0 };
  expect(limiter.lease(upload, asker(''))?.counted.inputTokens).toBeUndefined();
});

test('an answer that has not begun in its time is refused with 504, and one that waits for a place with why', async () => {
  const { start } = open({ answer: { ms: 200 }, streams: 1 });
  const { lease, stream } = await start();
  stream.asked();
  expect(lease.tick(nodeClock.nowMs() + 300)).toMatchObject({
    status: 504,
    isFinal: true,
    message: expect.stringMatching(/^The answer had not begun after \d+ ms, of at most 200 \(answerMs\)\./),
  });
  await expect(start()).rejects.toThrow('may have 1 stream at once, and has 1 (streams)');
});

test('a request that is too large for what is left is no reason to refuse smaller ones', async () => {
  const { failing, limiter, end, start } = open({ tokensPerDay: 40 });
  end(await start());
  await eventually(() => failing.calls.settle === 1, 'the first to be settled');
  const large = { ...request, promptTokens: 28 };
  const lease = limiter.lease(large, asker(''));
  await expect(lease?.open(new AbortController().signal)).rejects.toThrow('this request needs 38');
  await start();
});

test('a slice is asked for before it is used up, and the provider does not wait', async () => {
  const { failing, start } = open({ tokensPerDay: 100_000 });
  const running = await start();
  for (let said = 0; said < 10_000; said += 50) {
    expect(say(running, 50)).toBe(50);
    await turn();
  }
  // 1,024 tokens a slice, and each is asked for when three quarters of the one before are used.
  expect(failing.calls.extend).toBeGreaterThan(9);
  expect(failing.calls.extend).toBeLessThan(16);
});

test('at the limit the answer is cut, and never later than a chunk behind it', async () => {
  const { failing, limiter, start } = open({ tokensPerDay: 2000 });
  const running = await start();
  let said = 0;
  while (!running.stream.signal.aborted && said < 5000) {
    said += say(running, 7);
    await turn();
  }
  const prompt = 4;
  expect(said + prompt).toBeGreaterThanOrEqual(1984);
  expect(said + prompt).toBeLessThanOrEqual(2001);
  expect(running.stream.limits?.cut?.error.reached.name).toBe('tokensPerDay');
  running.lease.settle({ inputTokens: prompt, outputTokens: said });
  await eventually(() => failing.calls.settle === 1, 'it to be settled');
  expect(limiter.unsettled).toEqual({ kept: 0, lost: 0 });
});

test('while the store is slow, the provider waits at the end of its slice, and goes on with the answer', async () => {
  const { failing, start } = open({ tokensPerDay: 100_000 });
  const running = await start();
  const held = Promise.withResolvers<void>();
  failing.hold = held.promise;
  const said = say(running, 5000);
  expect(said).toBeGreaterThan(1000);
  expect(said).toBeLessThan(1030);
  expect(running.lease.isShort).toBe(true);
  const room = Promise.withResolvers<void>();
  running.lease.onRoom = room.resolve;
  held.resolve();
  await room.promise;
  expect(running.lease.isShort).toBe(false);
  expect(failing.calls.extend).toBe(1);
});

test('closed: while the store is away requests are refused, answers end with what is reserved, and all comes back', async () => {
  const { failing, start } = open({ tokensPerDay: 100_000 });
  const running = await start();
  failing.isAway = true;
  await expect(start()).rejects.toMatchObject({ code: 'limits_unavailable', status: 503 });
  await expect(start()).rejects.toThrow('does not answer, or is full');
  let said = 0;
  while (!running.stream.signal.aborted && said < 5000) {
    said += say(running, 7);
    await turn();
  }
  expect(said).toBeLessThan(1030);
  expect(running.stream.limits?.cut?.error).toMatchObject({
    code: 'limits_unavailable',
    isCancel: true,
    message: expect.stringContaining(
      'does not answer, or is full, so nothing more could be reserved (tokensPerDay)',
    ),
    reached: { scope: 'tenant', name: 'limits_unavailable' },
  });
  running.lease.settle(undefined);
  failing.isAway = false;
  await start();
});

test('open: while the store is away requests run uncounted, and are counted when it is back', async () => {
  const { end, failing, limiter, settled, start } = open({ tokensPerDay: 1000 }, { whenStoreFails: 'open' });
  failing.isAway = true;
  const running = await start();
  for (let rounds = 0; rounds < 600; rounds += 1) {
    say(running, 5);
    await turn();
  }
  const { events } = running.stream;
  expect(events).toBeGreaterThan(2900);
  end(running);
  expect(settled[0]).toMatchObject({ outputTokens: events, estimatedTokens: events + 4 });
  await eventually(() => limiter.unsettled.kept === 1, 'the end to be kept');
  failing.isAway = false;
  await eventually(() => limiter.unsettled.kept === 0, 'the end to be told');
  await expect(start()).rejects.toThrow(`has used ${events + 4} of 1000 tokens`);
});

test('numbers that no store takes are a defect and no outage, and free the place of their lease', async () => {
  const defects = new Defects({ error: () => undefined });
  const opened = open({ streams: 1, tokensPerDay: 1000 }, {}, nodeClock, 5000, defects);
  const { limiter, start } = opened;
  const { end, lease } = await start();
  end();
  lease.settle({ inputTokens: 1.5, outputTokens: 2 });
  await eventually(() => defects.count === 1, 'the defect');
  opened.end(await start());
  expect(limiter.unsettled).toEqual({ kept: 0, lost: 0 });
});

test('what the provider reports is settled; what it never got costs nothing', async () => {
  const { failing, limiter, settled, start } = open({ tokensPerDay: 1000 });
  const running = await start();
  say(running, 100);
  running.end();
  running.lease.settle({ inputTokens: 20, outputTokens: 300 });
  // A second end changes nothing.
  running.lease.settle({ inputTokens: 20, outputTokens: 400 });
  const never = limiter.lease(request, asker(''));
  await never?.open(new AbortController().signal);
  never?.settle(undefined);
  await eventually(() => failing.calls.settle === 2, 'both to be settled');
  expect(settled.map((used) => [used.inputTokens, used.outputTokens, used.estimatedTokens])).toEqual([
    [20, 300, 0],
    [0, 0, 0],
  ]);
  const quota = { kind: 'budget', key: '{clinic}tokensPerDay', limit: 1000, window: 'day' } as const;
  const [state] = await failing.store.read([quota], new AbortController().signal);
  expect(state).toMatchObject({ used: 320, reserved: 0 });
});

test('promise 16: what was told beyond what the provider reports is taken back', async () => {
  const opened = open({ tokensPerDay: 100_000 });
  const { failing, limiter, settled, start } = opened;
  const running = await start();
  for (let said = 0; said < 3000; said += 500) {
    say(running, 500);
    await turn();
  }
  expect(failing.calls.extend).toBeGreaterThan(1);
  running.end();
  running.lease.settle({ inputTokens: 1, outputTokens: 500 });
  await eventually(() => failing.calls.settle === 1, 'it to be settled');
  const [{ quota } = {}] = settled[0]?.claims ?? [];
  if (quota === undefined) throw new Error('expected a claim');
  expect(await limiter.store.read([quota], limiter.closing)).toMatchObject([{ used: 501, reserved: 0 }]);
});

test('a lease that ends while it asks for more is not opened again', async () => {
  const { failing, start } = open({ tokensPerDay: 100_000, streams: 1 });
  const running = await start();
  const held = Promise.withResolvers<void>();
  failing.hold = held.promise;
  say(running, 2000);
  expect(failing.calls.extend).toBe(1);
  running.end();
  running.lease.settle(undefined);
  expect(failing.calls.settle).toBe(0);
  held.resolve();
  await eventually(() => failing.calls.settle === 1, 'it to be settled');
  const places = { kind: 'places', key: '{clinic}streams', limit: 1 } as const;
  const budget = { kind: 'budget', key: '{clinic}tokensPerDay', limit: 100_000, window: 'day' } as const;
  const states = await failing.store.read([places, budget], new AbortController().signal);
  expect(states.map(({ reserved, used }) => [used > 0, reserved])).toEqual([
    [false, 0],
    [true, 0],
  ]);
});

test('who waits for a place of its tenant gets it in turn', async () => {
  // No other process gives places back, so nobody has to ask for them now and then.
  const timer = { stop: () => undefined, unref: () => timer };
  const clock = Object.assign(Object.create(nodeClock) as ServerClock, { after: () => timer });
  const { end, limiter, start } = open({ streams: 1 }, {}, clock);
  const order: string[] = [];
  const first = await start();
  const waiting = ['a', 'b', 'c'].map(async (name) => {
    const running = await start(name);
    order.push(name);
    end(running);
  });
  await eventually(() => limiter.queue.size === 3, 'all to wait');
  expect(order).toEqual([]);
  end(first);
  await Promise.all(waiting);
  expect(order).toEqual(['a', 'b', 'c']);
  expect(limiter.queue.size).toBe(0);
});

test('a reload that raises a limit lets in whoever waits, and who comes then finds no queue', async () => {
  const timer = { stop: () => undefined, unref: () => timer };
  const clock = Object.assign(Object.create(nodeClock) as ServerClock, { after: () => timer });
  const { limiter, settings, start } = open({ streams: 1 }, {}, clock);
  await start();
  const waiting = ['a', 'b', 'c'].map((name) => start(name));
  await eventually(() => limiter.queue.size === 3, 'all to wait');
  limiter.use({ ...settings, tenants: new Map([['clinic', { ...none, streams: 10 }]]) });
  await within(Promise.all(waiting), 'those who wait to be let in');
  expect(limiter.queue.size).toBe(0);
  await start();
});

test('an answer of the store that a reload overtakes refuses nobody, and is not remembered', async () => {
  const { end, failing, limiter, settings, start } = open({ tokensPerDay: 20 });
  const first = await start();
  say(first, 16);
  end(first);
  await eventually(() => failing.calls.settle === 1, 'the first to be settled');
  await turn();
  const held = Promise.withResolvers<void>();
  failing.hold = held.promise;
  const second = start();
  limiter.use({ ...settings, tenants: new Map([['clinic', { ...none, tokensPerDay: 1000 }]]) });
  held.resolve();
  await second;
  expect(limiter.refusal(asker('').caller, request)).toBeUndefined();
});

test('who waits for what others have reserved is asked with the limit that a reload has raised', async () => {
  const { end, limiter, settings, start } = open({ tokensPerDay: 20 });
  const first = await start();
  const second = start();
  await eventually(() => limiter.queue.size === 1, 'the second to wait');
  say(first, 16);
  limiter.use({ ...settings, tenants: new Map([['clinic', { ...none, tokensPerDay: 1000 }]]) });
  end(first);
  await second;
  expect(limiter.refusal(asker('').caller, request)).toBeUndefined();
});

test('who waits for a place of its key waits for one of its tenant, where a reload adds that', async () => {
  const keys = new Map([['clinic/front', { streams: 1 }]]);
  const { end, limiter, settings, start } = open({ tokensPerDay: 1000 }, { keys });
  const first = await start();
  let isThere = false;
  const second = start().then(() => (isThere = true));
  await eventually(() => limiter.queue.size === 1, 'the second to wait');
  limiter.use({
    ...settings,
    tenants: new Map([['clinic', { ...none, tokensPerDay: 1000, streams: 1 }]]),
  });
  const other = { ...asker(''), caller: { name: 'clinic/back', tenant: 'clinic', owner: 'clinic/back' } };
  const third = await limiter.open(request, other);
  expect(third?.openName).toBeDefined();
  end(first);
  await eventually(() => limiter.queue.has(['{clinic}streams']), 'the second to wait for the other place');
  expect(isThere).toBe(false);
  third?.settle(undefined);
  await second;
});

test.each<[string, Partial<TenantLimits>, RegExp | undefined]>([
  ['streams that are removed', { tokensPerDay: 1000 }, undefined],
  ['streams that are more', { streams: 2 }, undefined],
  ['requests', { requests: { perSecond: 1, burst: 1 } }, undefined],
  ['tokens a minute', { tokensPerMinute: 5 }, /may use 5 tokens a minute.*never fits/],
  ['tokens a day', { tokensPerDay: 5 }, /may use 5 tokens a day.*never fits/],
  ['tokens a month', { tokensPerMonth: 5 }, /may use 5 tokens a month.*never fits/],
  ['tokens of a user', { user: { tokensPerDay: 5 } }, /\(userTokensPerDay\)/],
  ['places of a user', { user: { streams: 0 } }, /\(userStreams\)/],
  ['tokens of a conversation', { session: { tokens: 5 } }, /\(sessionTokens\)/],
  ['money, of which nobody knows the price', { costPerDay: 5 }, /has no price/],
  ['models', { models: ['other'] }, /is not among those/],
])('who waits is held against what a reload brings: %s', async (_what, limits, refusal) => {
  const { limiter, settings, start } = open(
    { streams: 1 },
    { sessionFrom: [{ kind: 'header', name: 'spillway-user' }] },
  );
  await start('a');
  const second = start('a');
  await eventually(() => limiter.queue.size === 1, 'the second to wait');
  limiter.use({ ...settings, tenants: new Map([['clinic', { ...none, ...limits }]]) });
  if (refusal === undefined) await second;
  else await expect(second).rejects.toThrow(refusal);
  expect(limiter.queue.size).toBe(0);
});

test('who waits in vain is refused with the numbers that are in force', async () => {
  const { failing, limiter, settings, start } = open({ streams: 1 });
  await start();
  const waiting = ['a', 'b'].map((name) => start(name));
  await eventually(() => limiter.queue.size === 2, 'both to wait');
  const { open: asked } = failing.calls;
  const held = Promise.withResolvers<void>();
  failing.hold = held.promise;
  limiter.use({ ...settings, tenants: new Map([['clinic', { ...none, streams: 0 }]]) });
  await eventually(() => failing.calls.open === asked + 2, 'both to ask again');
  held.resolve();
  for (const one of waiting) await expect(one).rejects.toThrow('may have 0 streams at once');
});

test('who waits is let in by a reload that leaves limits to nobody', async () => {
  const { settings } = open({ streams: 1 });
  const defects = new Defects({ error: () => undefined });
  const config = { maxWaiting: 10, waitTimeoutMs: 5000 };
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const options = { clock: nodeClock, config, defects, log, streams: () => [], talking: () => [] };
  const held = await HeldLimits.open(settings, options);
  onTestFinished(() => held.close());
  const { limiter } = held;
  await limiter?.open(request, asker(''));
  const second = limiter?.conversation(request, asker(''));
  const entered = second?.enter(AbortSignal.timeout(3000));
  await eventually(() => second?.awaitedError !== undefined, 'the second to wait');
  const other = await held.prepare(undefined);
  other.commit();
  expect(held.limiter).toBeUndefined();
  await entered;
  expect(second?.awaitedError).toBeUndefined();
});

test('after a sleep of the machine a new day begins, although its time stood still', async () => {
  let dateMs = Date.UTC(2026, 0, 1, 12);
  const clock = Object.assign(Object.create(nodeClock) as ServerClock, { dateMs: () => dateMs });
  const { end, failing, start } = open({ tokensPerDay: 20 }, {}, clock);
  const running = await start();
  say(running, 100);
  end(running);
  await eventually(() => failing.calls.settle === 1, 'it to be settled');
  await expect(start()).rejects.toThrow(LimitError);
  const { open: asked } = failing.calls;
  await expect(start()).rejects.toThrow(LimitError);
  expect(failing.calls.open).toBe(asked);
  dateMs += 86_400_000;
  await start();
});

test('all leases of a process are renewed with one call', async () => {
  const ticks: (() => void)[] = [];
  const clock = Object.assign(Object.create(nodeClock) as ServerClock, {
    every: (_ms: number, callback: () => void) => {
      ticks.push(callback);
      return { stop: () => undefined };
    },
  });
  const { failing, start } = open({ streams: 10 }, {}, clock);
  await Promise.all([start(), start(), start()]);
  for (const tick of ticks) tick();
  expect(failing.calls.renew).toBe(1);
});

test('a bounded number of end users is known, and only by hashes', async () => {
  const { limiter } = open({ user: { requests: { perSecond: 1, burst: 1 } } }, { maxUsers: 5 });
  for (let user = 0; user < 50; user += 1) limiter.lease(request, asker(`user-${user}`));
  expect(limiter.knownNames).toBe(5);
});

test('a body that is read while a reload changes where users are named keeps their names', async () => {
  const user = { requests: { perSecond: 0.001, burst: 1 } };
  const from = (...names: string[]) => ({
    userFrom: names.map((name) => ({ kind: 'body', path: [name] }) as const),
  });
  const { limiter, settings } = open({ user }, from('user'));
  const read = (name: string) => ({
    ...request,
    members: limiter.members.map((path) => ({ path, text: path[0] === 'user' ? name : undefined })),
  });
  const [before, again, other] = [read('anna'), read('anna'), read('berta')];
  limiter.use({ ...settings, ...from('metadata', 'user') });
  await limiter.open(before, asker(''));
  await expect(limiter.open(again, asker(''))).rejects.toThrow('(userRequests)');
  await limiter.open(other, asker(''));
});

test('a name of any length has the limits of an end user', () => {
  const { limiter } = open({ user: { requests: { perSecond: 1, burst: 1 } } });
  limiter.lease(request, asker('x'.repeat(8000)));
  expect(limiter.knownNames).toBe(1);
});

test('answers that nothing can end never have more together than is left', async () => {
  const { limiter } = open({ tokensPerDay: 10_000 });
  const members = [{ path: ['max_tokens'], text: '4000' }];
  const whole = { ...request, wantsEvents: false, members };
  const opened = await Promise.allSettled(
    Array.from({ length: 40 }, async () => await limiter.open(whole, asker(''))),
  );
  // Others wait for what these give back.
  const leases = opened.map((one) => (one.status === 'fulfilled' ? one.value : undefined));
  expect(leases.filter((lease) => lease?.openName !== undefined)).toHaveLength(2);
});

test('an answer in one piece that may have too much is refused with what was asked and what is left', async () => {
  const { limiter } = open({ tokensPerDay: 10_000 });
  const refusal = async (maxTokens: string): Promise<unknown> => {
    const members = [{ path: ['max_tokens'], text: maxTokens }];
    const lease = await limiter.open({ ...request, wantsEvents: false, members }, asker(''));
    // What it takes counts as used, so that nothing comes back.
    lease?.settle({ inputTokens: 0, outputTokens: 8000 });
    return undefined;
  };
  await refusal('8000');
  await expect(refusal('4000')).rejects.toMatchObject({
    message: expect.stringMatching(
      /used 8000 of 10000 tokens today; this request needs 40\d\d, with the 4000 tokens that it allows its answer in one piece \(max_tokens or the like\), and 2000 are left \(tokensPerDay\)\./,
    ) as unknown,
  });
  await expect(refusal('20000')).rejects.toMatchObject({
    message: expect.stringMatching(
      /needs 200\d\d, with the 20000 tokens .*: it never fits \(tokensPerDay\)\. A smaller max_tokens may fit/,
    ) as unknown,
  });
});

test.each(['closed', 'open'] as const)(
  'what no answer may have is refused by the limit, and not by a store that is away (%s)',
  async (whenStoreFails) => {
    const prices = [{ model: '*', sinceMs: 0, input: 1, output: 1e15 - 1 }];
    for (const limits of [{ tokensPerDay: 10_000 }, { costPerDay: 1e15 - 1 }]) {
      const { limiter } = open(limits, { whenStoreFails, prices });
      for (const maxTokens of ['1e300', '9007199254740993']) {
        const members = [{ path: ['max_tokens'], text: maxTokens }];
        const asked = limiter.open({ ...request, wantsEvents: false, members }, asker(''));
        await expect(asked).rejects.toThrow(/with the 1000000000 tokens .* it never fits/);
      }
    }
  },
);

test('a store that takes no such numbers is not away: nothing runs uncounted', async () => {
  const opened = open({ tokensPerDay: 10_000 }, { whenStoreFails: 'open' }, undefined, undefined, silent());
  const { cuts, lease } = await talk(opened);
  opened.failing.error = new SpillwayError('invalid_option', 'spent: expected a whole number.');
  opened.failing.isAway = true;
  await expect(opened.start()).rejects.toBe(opened.failing.error);
  lease.used({ inputTokens: 1000, outputTokens: 1000 });
  await turn();
  expect(cuts).toHaveLength(1);
  opened.failing.isAway = false;
});

test('under a limit of cost, a model without a price is refused', () => {
  const { limiter } = open({ costPerDay: 1_000_000 });
  expect(() => limiter.lease(request, asker(''))).toThrow(/The model gpt has no price.*price/);
});

test('a gateway that stops settles what runs', async () => {
  const { failing, limiter, start } = open({ tokensPerDay: 10_000 });
  await Promise.all([start(), start()]);
  await limiter.close();
  expect(failing.calls.settle).toBe(2);
});

/** A conversation that has begun, and the limit that has ended it. */
async function talk({ limiter }: Opened): Promise<{
  readonly lease: ConversationLease;
  readonly cuts: LimitError[];
}> {
  const lease = limiter.conversation(
    { model: 'gpt', provider: { name: 'openai' }, isFirstProvider: true },
    asker(''),
  );
  if (lease === undefined) throw new Error('the tenant has limits');
  await lease.enter(new AbortController().signal);
  const cuts: LimitError[] = [];
  lease.begin((error) => cuts.push(error));
  return { lease, cuts };
}

const callWithParts = { ...request, isAround: true };

test('a call whose answers have leases of their own holds nothing of budgets, and asks for none', async () => {
  const { failing, limiter, settled, start } = open({ tokensPerDay: 20, streams: 3 });
  const lease = limiter.conversation(callWithParts, asker(''));
  await lease?.enterNow();
  lease?.begin(() => expect.unreachable('nothing ends it'));
  lease?.used({ inputTokens: 1000, outputTokens: 1000 });
  await turn();
  expect(failing.calls.extend).toBe(0);
  // Another one gets what it needs at once, and more calls begin while that is reserved.
  const running = await start();
  await limiter.conversation(callWithParts, asker(''))?.enterNow();
  expect(running.lease.awaitedError).toBeUndefined();
  // Its place it has.
  await expect(limiter.conversation(callWithParts, asker(''))?.enterNow()).rejects.toThrow('has 3 (streams)');
  lease?.settle();
  expect(settled[0]?.claims).toEqual([]);
});

test('a call whose answers have leases of their own is refused where too little is left, and only then', async () => {
  const { end, failing, limiter, start } = open({ tokensPerDay: 20 });
  const enter = async (): Promise<void> => await limiter.conversation(callWithParts, asker(''))?.enterNow();
  const running = await start();
  await enter();
  say(running, 7);
  end(running);
  await eventually(() => failing.calls.settle === 1, 'it to be settled');
  await expect(enter()).rejects.toThrow(
    /has used 11 of 20 tokens today; this request needs 10, with minAnswerTokens, and 9 are left \(tokensPerDay\)/,
  );
  expect(failing.calls.open).toBe(1);
});

test('a call whose answers have leases of their own is refused while the store is away, unless that is open', async () => {
  for (const whenStoreFails of ['closed', 'open'] as const) {
    const { failing, limiter } = open({ tokensPerDay: 20 }, { whenStoreFails });
    failing.isAway = true;
    const entered = limiter.conversation(callWithParts, asker(''))?.enterNow();
    if (whenStoreFails === 'open') expect(await entered).toBeUndefined();
    else await expect(entered).rejects.toMatchObject({ code: 'limits_unavailable' });
    failing.isAway = false;
  }
});

test('a conversation asks for more with each report, and is over at most one answer behind the limit', async () => {
  const opened = open({ tokensPerDay: 10_000, answer: { tokens: 100, tokensPerSecond: 1 } });
  const { cuts, lease } = await talk(opened);
  let total = 0;
  for (let answers = 1; cuts.length === 0 && answers < 100; answers += 1) {
    total = answers * 300;
    lease.used({ inputTokens: answers * 200, outputTokens: answers * 100 });
    await turn();
    expect(opened.failing.calls.extend).toBe(answers);
  }
  expect(total).toBeGreaterThan(9700);
  expect(total).toBeLessThanOrEqual(10_300);
  expect(cuts[0]?.message).toContain('(tokensPerDay)');
  lease.used({ inputTokens: 8000, outputTokens: 4000 });
  expect(cuts).toHaveLength(1);
  expect(lease.settle()).toMatchObject({ inputTokens: 8000, outputTokens: 4000 });
  expect(lease.settle()).toBeUndefined();
  await eventually(() => opened.failing.calls.settle === 1, 'it to be settled');
});

test('a conversation has what it has reserved while the store is away, and all of it when that is open', async () => {
  for (const whenStoreFails of ['closed', 'open'] as const) {
    const opened = open({ tokensPerDay: 100_000 }, { whenStoreFails });
    const { cuts, lease } = await talk(opened);
    opened.failing.isAway = true;
    lease.used({ inputTokens: 100, outputTokens: 100 });
    await turn();
    expect(cuts).toHaveLength(0);
    lease.used({ inputTokens: 1000, outputTokens: 1000 });
    await turn();
    expect(cuts).toHaveLength(whenStoreFails === 'closed' ? 1 : 0);
    opened.failing.isAway = false;
    lease.settle();
  }
});

test('a conversation that another answer of the store finds ended is not cut', async () => {
  const opened = open({ tokensPerDay: 1000 });
  const { cuts, lease } = await talk(opened);
  const held = Promise.withResolvers<void>();
  opened.failing.hold = held.promise;
  lease.used({ inputTokens: 1000, outputTokens: 1000 });
  lease.settle();
  held.resolve();
  await eventually(() => opened.failing.calls.settle === 1, 'it to be settled');
  expect(cuts).toEqual([]);
});

test('an answer that costs nothing goes on when its prompt has more tokens than was thought, and money is left', async () => {
  const prices = [{ model: '*', sinceMs: 0, input: 1_000_000, output: 0 }];
  const { failing, start } = open({ tokensPerDay: 100_000, costPerDay: 5000 }, { prices });
  const running = await start();
  say(running, 1);
  running.stream.reported = { inputTokens: 1000, outputTokens: undefined };
  for (let said = 0; said < 5000; said += 100) {
    await eventually(() => !running.lease.isShort, 'the next slice');
    expect(say(running, 100)).toBe(100);
    await turn();
  }
  expect(failing.calls.extend).toBeGreaterThan(2);
  expect(running.stream.signal.aborted).toBe(false);
});

test('a prompt that proves to cost more than is left ends its answer, also where the answer costs nothing', async () => {
  const prices = [{ model: '*', sinceMs: 0, input: 1_000_000, output: 0 }];
  const { start } = open({ tokensPerDay: 100_000, costPerDay: 500 }, { prices });
  const running = await start();
  say(running, 1);
  running.stream.reported = { inputTokens: 1000, outputTokens: undefined };
  for (let said = 0; said < 5000 && !running.stream.signal.aborted; said += 100) {
    say(running, 100);
    await turn();
  }
  expect(running.stream.signal.reason).toMatchObject({ reached: { name: 'costPerDay', value: 500 } });
});

test('a conversation whose answers cost nothing ends when the money of its prompts is used up', async () => {
  const prices = [{ model: '*', sinceMs: 0, input: 1_000_000, output: 0 }];
  const { cuts, lease } = await talk(open({ costPerDay: 1000 }, { prices }));
  let answers = 0;
  while (cuts.length === 0 && answers < 50) {
    answers += 1;
    lease.used({ inputTokens: answers * 100, outputTokens: answers * 60 });
    await turn();
  }
  expect(cuts[0]?.reached).toMatchObject({ name: 'costPerDay', value: 1000 });
  expect(answers).toBeLessThanOrEqual(11);
});

/** Says events of which each reports the tokens of all so far, one a read. Returns how many came before the answer ended. */
async function sayRunning(
  { channel, lease, stream }: WrittenStream & { readonly lease: RequestLease },
  totals: readonly number[],
): Promise<number> {
  for (const [said, completion] of totals.entries()) {
    await eventually(() => !lease.isShort || stream.signal.aborted, 'the next slice');
    if (stream.signal.aborted || stream.limits?.cut !== undefined) return said;
    const usage = { prompt_tokens: 10, completion_tokens: completion, total_tokens: completion + 10 };
    const chunk = { choices: [{ index: 0, delta: { content: 'x' } }], usage };
    const bytes = Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`);
    const run = { bytes, byteLength: bytes.length, events: 1 };
    channel.offer(run);
    stream.received(run, true, nodeClock.nowMs());
    lease.received(stream.events, stream.bytes, stream.large);
    await turn();
  }
  return totals.length;
}

const each = (tokens: number, count: number): number[] =>
  Array.from({ length: count }, (_, at) => (at + 1) * tokens);

test.each([
  ['fifty an event', each(50, 300), 62],
  ['fifty an event, of which the first ones have few', [1, 2, 3, ...each(50, 300).map((all) => all + 3)], 65],
  ['two thousand hidden ones before the first word', each(1, 1500).map((all) => all + 2000), 992],
  [
    'one an event, and fifty after the thousandth',
    [...each(1, 1000), ...each(50, 300).map((all) => all + 1000)],
    // A slice, by the rate until then.
    1130,
  ],
])('running totals of a provider are what counts in the middle: %s', async (_what, totals, most) => {
  const { limiter, settled, start } = open({ tokensPerDay: 3000 });
  const running = await start();
  const came = await sayRunning(running, totals);
  expect(came).toBeLessThanOrEqual(most);
  expect(came).toBeGreaterThan(most * 0.85);
  running.lease.settle(undefined);
  expect(settled[0]?.outputTokens).toBeLessThanOrEqual((totals[came - 1] ?? 0) + 1);
  await limiter.close();
});

test('running totals that are less than the estimate let an answer go on', async () => {
  const { start } = open({ tokensPerDay: 500 });
  const running = await start();
  // An event of three, as it is estimated here, has one.
  expect(
    await sayRunning(
      running,
      each(1, 400).map((all) => Math.ceil(all / 3)),
    ),
  ).toBe(400);
  expect(running.lease.counted.outputTokens).toBeLessThan(160);
});

test.each([0, 1])('a running total that stands still is none: %i', async (stuck) => {
  const { start } = open({ tokensPerDay: 500 });
  expect(await sayRunning(await start(), new Array<number>(1000).fill(stuck))).toBeLessThan(510);
});

test('a model that costs nothing answers whoever has no money left', async () => {
  const prices = [
    { model: 'gpt', sinceMs: 0, input: 0, output: 0 },
    { model: '*', sinceMs: 0, input: 1_000_000, output: 1_000_000 },
  ];
  const { failing, limiter, start } = open({ costPerDay: 100 }, { prices });
  const dear = limiter.lease({ ...request, model: 'dear' }, asker(''));
  await dear?.open(new AbortController().signal);
  const ended = startStream(openStreams().streams);
  await dear?.enter(ended.stream);
  dear?.settle({ inputTokens: 500, outputTokens: 500 });
  await eventually(() => failing.calls.settle === 1, 'it to be settled');
  const again = limiter.lease({ ...request, model: 'dear' }, asker(''));
  await expect(again?.open(new AbortController().signal)).rejects.toMatchObject({ status: 402 });
  const running = await start();
  expect(say(running, 2000)).toBe(2000);
});

test('whoever has used up its tokens may stop, read and delete what costs some, and is refused all else as before', async () => {
  const { end, failing, limiter, start } = open({
    tokensPerDay: 20,
    requests: { perSecond: 100, burst: 100 },
  });
  const first = await start();
  say(first, 100);
  end(first);
  await eventually(() => failing.calls.settle === 1, 'it to be settled');
  await expect(start()).rejects.toThrow(LimitError);
  const { caller } = asker('');
  for (const [method, path] of [
    ['POST', '/v1/responses/resp_1/cancel'],
    ['POST', '/v1/batches/batch_1/cancel'],
    ['DELETE', '/v1/files/file_1'],
    ['GET', '/v1/responses/resp_1'],
  ] as const) {
    expect(limiter.refusal(caller, { method, path })).toBeUndefined();
    const lease = limiter.lease({ ...request, method, path, model: undefined }, asker(''));
    await lease?.open(new AbortController().signal);
    lease?.settle(undefined);
  }
  const { open: asked } = failing.calls;
  // They have not made anything forgotten, nor put off when the store is asked again.
  expect(limiter.refusal(caller, request)).toBeInstanceOf(LimitError);
  await expect(start()).rejects.toThrow(LimitError);
  expect(failing.calls.open).toBe(asked);
});

test('of several targets each costs what it did when its request came, and one without a price is none', async () => {
  const row = (model: string, dollars: number) => {
    return { model, sinceMs: 0, input: dollars * 1_000_000, output: dollars * 1_000_000 };
  };
  const { limiter, settings, settled } = open(
    { tokensPerDay: 100_000 },
    { prices: [row('*/cheap', 1), row('*/dear', 10)] },
  );
  const { streams } = openStreams();
  const at = (model: string) => ({ provider: { name: 'openai' }, model });
  const targets = ['cheap', 'dear', 'bare'].map(at);
  const lease = limiter.lease({ ...request, model: 'fast', targets }, asker(''));
  if (lease === undefined) throw new Error('the tenant has limits');
  await lease.enter(startStream(streams).stream);
  const prices = [row('*', 1000)];
  limiter.use({ ...settings, prices });
  const priced = (): unknown => lease.settle(undefined);
  lease.asks(at('cheap'));
  lease.asks(at('bare'));
  lease.asks(at('dear'));
  expect(priced()).toMatchObject({ price: { model: '*/dear' } });
  expect(settled).toMatchObject([{ price: { output: 10_000_000 } }]);
});

test('a target that is known while the store is away is served, as far as the rest would be', async () => {
  const row = (model: string, input: number) => ({ model, sinceMs: 0, input, output: input });
  const { failing, limiter } = open(
    { costPerDay: 1_000_000 },
    { prices: [row('*/cheap', 1_000_000), row('*/dear', 10_000_000)], whenStoreFails: 'open' },
    undefined,
    undefined,
    new Defects({ error: () => undefined }),
  );
  failing.isAway = true;
  const { streams } = openStreams();
  const targets = ['cheap', 'dear'].map((model) => ({ provider: { name: 'openai' }, model }));
  const lease = limiter.lease({ ...request, model: 'fast', targets }, asker(''));
  if (lease === undefined) throw new Error('the tenant has limits');
  const running = startStream(streams);
  running.stream.limits = new StreamLimits(running.stream.signal, { limit: lease });
  await lease.enter(running.stream);
  lease.asks({ provider: { name: 'openai' }, model: 'cheap' });
  expect(say({ ...running, lease }, 500)).toBe(500);
  expect(failing.calls.extend).toBe(0);
  running.end();
  lease.settle(undefined);
});
