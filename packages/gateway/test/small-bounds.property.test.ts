import { nodeClock } from '@spillway/server/time/node-clock';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Overflow } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { EventScanner } from '@spillway/core/format/sse';
import { frameOverheadBytes } from '@spillway/core/session';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { configSchema } from '../src/config/schema.ts';
import { Defects } from '@spillway/server/defects';
import { EventMemory } from '@spillway/server/memory/event-memory';
import { Meter } from '@spillway/server/stream/meter';
import { channelBytes } from '../src/relay/fill.ts';
import { openRunChannel } from '@spillway/server/stream/run-channel';
import { RunMemory } from '@spillway/server/memory/run-memory';
import { SessionResponse } from '@spillway/server/session/session-response';
import type { Reply } from '../src/source/reply.ts';
import { ReplySource } from '../src/source/reply-source.ts';
import { Streams } from '@spillway/server/stream/streams';
import { nobody } from '../../server/test/support/nobody.ts';

/** As much as one read brings. */
const readBytes = 16_384;

const bytesOf = fc.constantFrom(1024, 2000, 5000, 16_384, 32_768, 65_536, 1_048_576);
const policyOf = fc.constantFrom<Overflow>(
  'block',
  'coalesce',
  'disconnect',
  'drop-newest',
  'drop-oldest',
  'error',
  'latest',
);
const caseOf = fc.record({
  windowBytes: bytesOf,
  readers: fc.array(fc.record({ maxBytes: bytesOf, sessionBytes: bytesOf, overflow: policyOf }), {
    minLength: 1,
    maxLength: 3,
  }),
  /** Writes of so many events, each with so much text. */
  writes: fc.array(
    fc.record({
      events: fc.integer({ min: 1, max: 200 }),
      textBytes: fc.constantFrom(1, 20, 100, 600, 3000),
    }),
    { minLength: 1, maxLength: 20 },
  ),
});

function eventOf(textBytes: number): Buffer {
  const content = 'x'.repeat(textBytes);
  return Buffer.from(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`);
}

test('promise 1: a bound that is accepted holds, however many events come at once', async () => {
  await fc.assert(
    fc.asyncProperty(caseOf, async ({ readers, windowBytes, writes }) => {
      const config = configSchema.parse({ windowBytes });
      const streams = new Streams({
        config,
        meter: new Meter(),
        links: { readQueues: () => Promise.resolve(undefined) },
        defects: new Defects({ error: () => undefined }),
        clock: nodeClock,
      });
      const stream = streams.open({ ...nobody, detach: 'grace' });
      const maxBytes = channelBytes(config);
      const memory = new RunMemory();
      const channel = openRunChannel(maxBytes, memory, openaiChat, nodeClock);
      const state = { isPaused: false };
      const reply = {
        pause: () => (state.isPaused = true),
        resume: () => (state.isPaused = false),
        cancel: () => undefined,
      };
      const places = new EventMemory({ maxBytes: 67_108_864, maxEventBytes: 16_777_216 });
      const source = new ReplySource(reply as unknown as Reply, channel, memory, {
        listener: stream,
        loop: { gapMs: 0, look: () => undefined },
        scanner: new EventScanner({ classify: openaiChat.classify }),
        openPlace: () => places.open(''),
        maxEventBytes: 16_777_216,
        maxStreamBytes: Infinity,
        onEnd: () => undefined,
      });
      try {
        const body = {
          log: channel,
          format: openaiChat,
          isEvents: true,
          headers: {},
          status: 200,
          reason: '',
        };
        stream.start({ ...body, maxWaitingBytes: maxBytes }, performance.now());
        // Nobody acknowledges anything.
        const opened = readers.map((bounds) => {
          const sent = { bytes: 0, chunks: 0 };
          const response = new SessionResponse({
            clock: nodeClock,
            format: openaiChat,
            answersErrors: true,
            windowBytes: Math.min(bounds.sessionBytes, windowBytes),
            url: () => '',
            onAck: () => undefined,
            onClose: () => undefined,
          });
          response.bind(
            {
              credit: response.credit,
              windowBytes: Infinity,
              isBlocked: false,
              untakenBytes: 0,
              isResuming: false,
              send: () => undefined,
              sendData: (_stream, from, to, bytes) => {
                // The gateway's own words need no credit.
                if (from === to) return;
                sent.bytes += bytes.length + frameOverheadBytes;
                sent.chunks += 1;
              },
              delayMs: () => 0,
            },
            1,
            0,
            0,
          );
          const reader = stream.attach(response, {
            ...bounds,
            maxBytes: Math.min(bounds.maxBytes, windowBytes),
            credit: [response.credit],
            returns: true,
          });
          return { reader, response, sent };
        });
        await nextTurn();
        let largest = 0;
        for (const { events, textBytes } of writes) {
          const event = eventOf(textBytes);
          largest = Math.max(largest, event.length + frameOverheadBytes);
          const bytes = Buffer.concat(Array.from({ length: events }, () => event));
          for (let start = 0; start < bytes.length; start += readBytes) {
            if (state.isPaused) break;
            source.data(bytes, start, Math.min(bytes.length, start + readBytes));
            await nextTurn();
            for (const { reader, response, sent } of opened) {
              // One event alone may be larger than all of a bound, and comes on top of it.
              const bound = reader.maxWaitingBytes;
              expect(bound).toBeLessThanOrEqual(maxBytes);
              const waitingBound = largest <= bound ? bound : bound + largest;
              expect(reader.waitingBytes).toBeLessThanOrEqual(waitingBound);
              const { bytes: window } = response.credit.max;
              if (largest <= window) expect(sent.bytes).toBeLessThanOrEqual(window);
              else if (sent.bytes > window) expect(sent.chunks).toBe(1);
            }
          }
        }
      } finally {
        streams.stopWatching();
      }
    }),
    {
      numRuns: 60,
      // A reader with a smaller bound stands beside one with a larger one.
      examples: [
        [
          {
            windowBytes: 65_536,
            readers: [
              { maxBytes: 1024, sessionBytes: 1024, overflow: 'error' },
              { maxBytes: 16_384, sessionBytes: 1024, overflow: 'block' },
            ],
            writes: [{ events: 74, textBytes: 100 }],
          },
        ],
      ],
    },
  );
});
