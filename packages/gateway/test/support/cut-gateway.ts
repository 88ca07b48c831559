import { StreamLimits } from '@spillway/server/stream/stream-limits';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { onTestFinished, vi } from 'vitest';
import { LimitError } from '@spillway/server/limit/limit-error';
import type { GatewayStream } from '@spillway/server/stream/stream';
import { Streams } from '@spillway/server/stream/streams';
import { loadSettings } from '../../src/config/load.ts';
import { openGateway } from '../../src/gateway.ts';
import type { LogLine } from './log-lines.ts';

/** A gateway in this process, in front of a provider that the test plays. */
export interface CutGateway {
  readonly url: string;
  readonly adminUrl: string;
  /** All streams so far, in order. */
  readonly streams: readonly GatewayStream[];
  /** Answers the next requests so. The answer stays open until the gateway closes it, or `end` is called. */
  answer: (write: (response: ServerResponse) => void) => void;
  /** Resolves when the gateway has closed the connection of its latest request. */
  readonly providerClosed: () => Promise<unknown>;
  /** Every stream is cut as soon as so many events have come. Default of the error: {@link reachedLimit}. */
  cutBehind: (events: number, error?: LimitError) => void;
  readonly lines: () => readonly LogLine[];
}

/** A limit that is reached; it stands for whoever counts. */
export function reachedLimit(): LimitError {
  return new LimitError(
    { scope: 'tenant', name: 'tokensPerDay', value: 100, used: 100, resetMs: 60_000 },
    'The tenant clinic has used its 100 tokens a day (tokensPerDay).',
  );
}

export async function openCutGateway(flags: Readonly<Record<string, string>> = {}): Promise<CutGateway> {
  let answer = (response: ServerResponse): void => void response.end();
  let behind = Infinity;
  let reason = reachedLimit();
  let closed: Promise<unknown> = Promise.resolve();
  const provider = createServer((request, response) => {
    request.resume();
    closed = once(response, 'close');
    response.setHeader('content-type', 'text/event-stream');
    answer(response);
  });
  await once(provider.listen(0, '127.0.0.1'), 'listening');
  const at = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`;
  const streams: GatewayStream[] = [];
  const open = Object.getOwnPropertyDescriptor(Streams.prototype, 'open')?.value as (
    this: Streams,
    owner: Parameters<Streams['open']>[0],
  ) => GatewayStream;
  const spy = vi.spyOn(Streams.prototype, 'open').mockImplementation(function opened(this: Streams, owner) {
    const stream = open.call(this, owner);
    const received = stream.received.bind(stream);
    stream.limits = new StreamLimits(stream.signal);
    stream.received = (run, isProgress, nowMs) => {
      received(run, isProgress, nowMs);
      if (stream.events >= behind) stream.cut(reason, { inputTokens: 12, outputTokens: 34 });
    };
    streams.push(stream);
    return stream;
  });
  const lines: LogLine[] = [];
  const destination = new Writable({
    write(line: Buffer, _encoding, done) {
      lines.push(JSON.parse(line.toString()) as LogLine);
      done();
    },
  });
  const settings = loadSettings({
    flags: {
      port: '0',
      adminPort: '0',
      shutdownMs: '50ms',
      upstream: `${at}/v1 api=anthropic,url=${at} api=gemini,url=${at}`,
      ...flags,
    },
    env: {},
    file: undefined,
  });
  const gateway = await openGateway(settings, pino(destination));
  onTestFinished(async () => {
    spy.mockRestore();
    await gateway.stop();
    provider.closeAllConnections();
    provider.close();
  });
  return {
    url: gateway.url,
    adminUrl: gateway.adminUrl,
    streams,
    answer: (write) => (answer = write),
    providerClosed: () => closed,
    cutBehind: (events, error = reachedLimit()) => {
      behind = events;
      reason = error;
    },
    lines: () => lines,
  };
}
