import { openChannel, openCredit } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { frameOverheadBytes, type GatewayFrame } from '@spillway/core/session';
import { expect, test } from 'vitest';
import { SessionResponse } from '../src/session/session-response.ts';
import { nodeClock } from '../src/time/node-clock.ts';
import { writeEvents } from '../src/sink/write-events.ts';

test('5.5 a client is told at once that something waits for its credit, and once for each ack', async () => {
  const windowBytes = 1024;
  const response = new SessionResponse({
    clock: nodeClock,
    format: openaiChat,
    answersErrors: true,
    url: () => '',
    windowBytes,
    askedWindowBytes: windowBytes,
    onAck: () => undefined,
    onClose: () => undefined,
  });
  const frames: (string | number)[] = [];
  const line = {
    credit: openCredit({ maxBytes: 65_536, initial: { bytes: 65_536 } }),
    windowBytes: 65_536,
    isBlocked: false,
    untakenBytes: 0,
    isResuming: false,
    send: (frame: GatewayFrame) => frames.push(frame.type === 'lag' ? `lag ${frame.items}` : frame.type),
    sendData: (_stream: number, _from: number, to: number) => frames.push(to),
    delayMs: () => 0,
  };
  response.bind(line, 1, 0, 0);
  const channel = openChannel<EventRun>({
    maxBytes: 65_536,
    weigh: ({ byteLength }) => byteLength + frameOverheadBytes,
  });
  const reader = channel.reader({
    credit: [response.credit, response.creditOf(line)],
    onCreditBlocked: () => response.creditBlocked(reader),
  });
  const listener = {
    start: () => undefined,
    written: () => undefined,
    lost: () => undefined,
    delayMs: () => 0,
  };
  const ended = writeEvents(reader, response, listener, nodeClock);
  const offer = (length: number): string =>
    channel.offer({ bytes: Buffer.alloc(length), byteLength: length, events: 1 });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  offer(100);
  await turn();
  expect(frames).toEqual([1]);
  // It needs all of the window, of which the first one has some.
  offer(1024);
  await turn();
  offer(10);
  await turn();
  expect(frames).toEqual([1, 'lag 1']);
  response.ack(1);
  await turn();
  expect(frames).toEqual([1, 'lag 1', 2, 'lag 1']);
  response.ack(2);
  await turn();
  // The timer of the session says that nothing waits any more.
  response.tellLag(reader);
  response.tellLag(reader);
  expect(frames).toEqual([1, 'lag 1', 2, 'lag 1', 3, 'lag 0']);
  channel.complete();
  await ended;
});
