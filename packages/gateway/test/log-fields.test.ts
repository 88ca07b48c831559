import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { describe, expect, test } from 'vitest';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { GatewayError } from '@spillway/server/errors';
import type { ServedReader } from '@spillway/server/stream/served-reader';
import { Streams } from '@spillway/server/stream/streams';
import { Meter } from '@spillway/server/stream/meter';
import { Defects } from '@spillway/server/defects';
import { nodeClock } from '@spillway/server/time/node-clock';
import { VirtualClock } from '../../core/src/testing/virtual-clock.ts';
import { findRoute } from '../src/http/route.ts';
import { LineBudget } from '../src/telemetry/line-budget.ts';
import { Refusals } from '../src/telemetry/refusals.ts';
import { RealtimeLines } from '../src/telemetry/realtime-lines.ts';
import { StreamLines } from '../src/telemetry/stream-lines.ts';
import { loadSettings } from '../src/config/load.ts';

/** Keeps the fields of every line, by its message. */
function keepingLog(): { readonly log: Logger; readonly fields: Map<string, string[]> } {
  const fields = new Map<string, string[]>();
  const write = (line: object, message: string): void => void fields.set(message, Object.keys(line));
  return { log: { info: write, warn: write, error: write, debug: write } as unknown as Logger, fields };
}

/** The fields that a section of docs/log.md has. */
function documented(section: string): string[] {
  const text = readFileSync(new URL('../../../docs/log.md', import.meta.url), 'utf8');
  const part = text.split(/^## /m).find((one) => one.startsWith(`\`${section}\`\n`)) ?? '';
  return [...part.matchAll(/^\| `(\w+)` \| \S/gm)].map(([, name = '']) => name);
}

test('docs/log.md has every field of every line, in its order', () => {
  const { fields, log } = keepingLog();
  const { config } = loadSettings({ flags: {}, env: {}, file: undefined });
  const streams = new Streams({
    config,
    meter: new Meter(),
    links: { readQueues: () => Promise.resolve(undefined) },
    defects: new Defects(log),
    clock: nodeClock,
  });
  const client = { address: '127.0.0.1', agent: '', caller: '', tenant: '' };
  const stream = streams.open({
    origin: { name: 'upstream', api: 'openai' },
    errors: openaiChat,
    owner: '',
    holder: '',
    mayRead: () => true,
    detach: 'cancel',
    model: 'm',
    client,
  });
  streams.stopWatching();
  const lines = new StreamLines(log, nodeClock);
  const route = findRoute('POST', '/v1/chat/completions', {});
  const outcome = { state: 'completed', error: undefined } as const;
  lines.ended(stream, {
    outcome,
    status: 200,
    usage: undefined,
    retries: 0,
    route,
    hasUnknownPrefix: false,
    headers: {},
    traceId: undefined,
  });
  const reader = { address: '', number: 2, requestId: 'r', via: 'session', tokens: 0 } as const;
  lines.readerEnded(stream, reader as unknown as ServedReader, 'left');
  const refusals = new Refusals(log, nodeClock);
  const error = new GatewayError('overloaded', 'words');
  refusals.refused('client', {
    requestId: 'r',
    address: '',
    caller: undefined,
    headers: {},
    method: 'GET',
    path: '/',
    error,
  });
  const way = { messages: 0, bytes: 0, pauses: 0, pausedMs: 0 };
  const conversations = new RealtimeLines(log, nodeClock);
  conversations.ended(
    {
      model: 'm',
      provider: { ...stream.origin, url: '' },
      route,
      hasUnknownPrefix: false,
    } as unknown as Parameters<RealtimeLines['ended']>[0],
    { reason: 'client_closed', closeCode: 1000, toClient: way, toProvider: way, usage: undefined },
    {
      client,
      headers: {},
      requestId: 'r',
      startedMs: 0,
      traceId: undefined,
      upstreamRequestId: undefined,
    },
  );
  conversations.close();
  lines.close();
  refusals.close();
  for (const message of ['stream ended', 'reader ended', 'request refused', 'realtime session ended']) {
    expect(documented(message), message).toEqual(fields.get(message));
  }
});

describe('a budget of lines', () => {
  test('lines and what is left out are all, whatever is asked in whichever minutes', async () => {
    const clock = new VirtualClock();
    const leftOut = new Map<unknown, number>();
    const budget = new LineBudget({
      clock,
      maxLines: 10,
      onLeftOut: ({ code }, count) => void leftOut.set(code, (leftOut.get(code) ?? 0) + count),
    });
    let written = 0;
    for (let minute = 0; minute < 3; minute += 1) {
      for (let count = 0; count < 25; count += 1) if (budget.take('a', { code: 'a' })) written += 1;
      for (let count = 0; count < 5; count += 1) if (budget.take('b', { code: 'b' })) written += 1;
      await clock.advance(60_000);
    }
    expect(written).toBe(3 * 15);
    expect([...leftOut]).toEqual([['a', 45]]);
    // A quiet minute has no report, and no timer.
    await clock.advance(600_000);
    expect([...leftOut]).toEqual([['a', 45]]);
  });

  test('kinds that clients name are bounded: beyond a thousand they share one', () => {
    const clock = new VirtualClock();
    const reports: number[] = [];
    const budget = new LineBudget({
      clock,
      maxLines: 2,
      onLeftOut: (_fields, count) => void reports.push(count),
    });
    let written = 0;
    for (let kind = 0; kind < 5000; kind += 1) if (budget.take(`kind ${kind}`, {})) written += 1;
    expect(written).toBe(1000 + 2);
    budget.close();
    expect(reports).toEqual([3998]);
  });
});
