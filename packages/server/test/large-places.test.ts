import { until } from '../../core/test/support/until.ts';
import { clientLeft } from '../src/errors.ts';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { EventMemory } from '../src/memory/event-memory.ts';
import { LargeRun } from '../src/memory/large-run.ts';
import { ClientResponse } from '../src/sink/client-response.ts';
import { nodeClock } from '../src/time/node-clock.ts';
import { openLinks } from '../src/sink/open-links.ts';
import { Paces } from '../src/sink/paces.ts';
import type { ServedReader } from '../src/stream/served-reader.ts';
import { openStreams, runOf, startStream } from './support/own-streams.ts';

const MiB = 1_048_576;

test('promise 1: a large event has its place until its connection has taken it, and no longer', async () => {
  const { streams } = openStreams();
  const { channel, stream } = startStream(streams, { detach: 'finish' });
  const paces = new Paces(openLinks());
  const server = createServer((_request, raw) => {
    const response = new ClientResponse(raw, {
      clock: nodeClock,
      format: openaiChat,
      paces,
      streamUrl: undefined,
      onLeave: () => reader.detach(clientLeft('left')),
    });
    const reader: ServedReader = stream.attach(response, { wantsEvents: true });
    server.emit('attached');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const attached = once(server, 'attached');
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1').pause();
  onTestFinished(() => {
    socket.destroy();
    server.close();
    server.closeAllConnections();
  });
  socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n');
  await within(attached, 'the reader to be there');

  const places = new EventMemory({ maxBytes: 64 * MiB, maxEventBytes: 32 * MiB });
  const run = runOf('x'.repeat(24 * MiB));
  const place = places.open('');
  while (place.bytes < run.byteLength) expect(place.grow(() => undefined)).toBe(true);
  const large = new LargeRun(run, place);
  expect(channel.offer(large)).toBe('accepted');
  stream.accepted(large);
  await until(
    () => [...stream.audience.readers].every(({ waitingItems }) => waitingItems === 0),
    'the event to be written',
  );
  // No kernel takes so much at once.
  expect(places.heldBytes).toBeGreaterThanOrEqual(run.byteLength);
  socket.resume();
  await until(() => places.heldBytes === 0, 'the place to be given back');
});
