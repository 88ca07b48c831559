import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Channel, type ChannelOptions, openChannel } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { onTestFinished } from 'vitest';
import { Defects } from '../../src/defects.ts';
import { invalidApiKey } from '../../src/errors.ts';
import { RequestMemory } from '../../src/memory/request-memory.ts';
import { Sessions } from '../../src/session/sessions.ts';
import { nodeClock } from '../../src/time/node-clock.ts';
import { openLinks } from '../../src/sink/open-links.ts';
import { Paces } from '../../src/sink/paces.ts';
import { Meter } from '../../src/stream/meter.ts';
import type { GatewayStream } from '../../src/stream/stream.ts';
import { Streams } from '../../src/stream/streams.ts';
import { nobody } from './nobody.ts';

const config = {
  detachGraceMs: 30_000,
  finishEvents: 1000,
  finishMs: 60_000,
  idleTimeoutMs: 60_000,
  keepAliveMs: 10_000,
  maxDurationMs: 600_000,
  maxHeaderBytes: 16_384,
  maxMessageBytes: 1_048_576,
  maxRequestMemoryBytes: 16_777_216,
  maxRetainedBytes: 16_777_216,
  maxSessionStreams: 100,
  maxStreams: 1000,
  minBytesPerSecond: 0,
  pauseMs: 600_000,
  requestTimeoutMs: 30_000,
  retainMs: 60_000,
  stallTimeoutMs: 30_000,
  waitTimeoutMs: 30_000,
  windowBytes: 1_048_576,
};

/** Sessions over real sockets, for streams of this process. */
export interface SessionServer {
  readonly url: string;
  readonly meter: Meter;
  readonly defects: Defects;
  /** A stream whose chunks the test writes. */
  open(options?: Partial<ChannelOptions<EventRun>>): OwnStream;
}

/** A stream that the test itself writes. */
interface OwnStream {
  readonly stream: GatewayStream;
  readonly channel: Channel<EventRun>;
}

export async function startSessionServer(): Promise<SessionServer> {
  // Tests look at their number.
  const defects = new Defects({ error: () => undefined });
  const meter = new Meter();
  const streams = new Streams({
    config,
    meter,
    links: { readQueues: () => Promise.resolve(undefined) },
    defects,
    clock: nodeClock,
  });
  const server = createServer();
  const sessions = new Sessions({
    clock: nodeClock,
    config,
    defects,
    meter,
    memory: new RequestMemory(config.maxRequestMemoryBytes),
    paces: new Paces(openLinks()),
    retained: streams.retained,
    guard: {
      needsKey: false,
      identify: () => ({ name: '', tenant: '', owner: undefined }),
      keyRefusal: invalidApiKey,
    },
    door: {
      refusal: () => undefined,
      refuse: (socket) => void socket.destroy(),
      known: () => undefined,
    },
    find: (token) => streams.find(token),
    isReady: () => true,
    isStopping: () => false,
  });
  sessions.listen(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    streams.cancelAll();
    streams.stopWatching();
    sessions.close();
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    meter,
    defects,
    open: (options = {}) => {
      const stream = streams.open({ ...nobody, detach: 'grace' });
      const channel = openChannel<EventRun>({
        maxBytes: 1_048_576,
        weigh: ({ byteLength }) => byteLength + 256,
        replay: { maxItems: 10_000 },
        ...options,
      });
      const { durationMs } = options;
      stream.start(
        {
          log: channel,
          // They are no events of a format: nothing is merged.
          format: undefined,
          isEvents: true,
          status: 200,
          reason: '',
          headers: {},
          maxWaitingBytes: 1_048_576,
          ...(durationMs === undefined ? {} : { durationMs }),
        },
        performance.now(),
      );
      return { stream, channel };
    },
  };
}
