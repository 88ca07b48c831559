import { type Channel, openChannel } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { createCoalesce } from '@spillway/core/format/coalesce';
import type { EventRun } from '@spillway/core/format/sse';
import Fastify from 'fastify';
import { onTestFinished } from 'vitest';
import { ApiKeys } from '../../src/access/api-keys.ts';
import { Guard } from '../../src/access/guard.ts';
import { configSchema } from '../../src/config/schema.ts';
import type { DetachPolicy } from '../../src/config/upstream.ts';
import { Defects } from '@spillway/server/defects';
import { Meter } from '@spillway/server/stream/meter';
import { addStreamPaths } from '../../src/server/stream-paths.ts';
import { putGuard } from '../../src/server/hooks.ts';
import { nodeClock } from '@spillway/server/time/node-clock';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { openLinks } from '@spillway/server/sink/open-links';
import { Paces } from '@spillway/server/sink/paces';
import type { GatewayStream } from '@spillway/server/stream/stream';
import { Streams } from '@spillway/server/stream/streams';
import { nobody } from '../../../server/test/support/nobody.ts';

/** A stream that the test itself writes. */
export interface OwnStream {
  readonly url: string;
  readonly stream: GatewayStream;
  readonly channel: Channel<EventRun>;
  readonly say: (text: string) => void;
}

/** Serves a stream of this process, so that a test can let its time pass. */
export async function startOwnStream(
  options: { readonly detach?: DetachPolicy; readonly clock?: ServerClock } = {},
): Promise<OwnStream> {
  const { clock = nodeClock, detach = 'grace' } = options;
  const config = configSchema.parse({});
  const streams = new Streams({
    config,
    meter: new Meter(),
    links: { readQueues: () => Promise.resolve(undefined) },
    defects: new Defects({ error: () => undefined }),
    clock,
  });
  const stream = streams.open({ ...nobody, detach });
  const channel = openChannel<EventRun>({
    maxItems: 20,
    // The bound is in chunks, however large they are.
    weigh: () => 1,
    merge: createCoalesce(openaiChat.delta),
    replay: { maxItems: 20 },
  });
  const body = {
    log: channel,
    format: openaiChat,
    isEvents: true,
    headers: {},
    status: 200,
    reason: '',
    maxWaitingBytes: 65_536,
  };
  stream.start(body, clock.nowMs());
  const server = Fastify();
  const paces = new Paces(openLinks());
  putGuard(server, new Guard(new ApiKeys([], () => 0), []), { known: () => undefined });
  const { stallTimeoutMs, windowBytes } = config;
  addStreamPaths(server, streams, { clock, paces, stallTimeoutMs, windowBytes });
  const url = await server.listen({ port: 0, host: '127.0.0.1' });
  onTestFinished(async () => {
    streams.stopWatching();
    server.server.closeAllConnections();
    await server.close();
  });
  const say = (text: string): void => {
    const bytes = Buffer.from(text);
    channel.offer({ bytes, byteLength: bytes.length, events: 1 });
  };
  return { url: url + stream.url, stream, channel, say };
}
