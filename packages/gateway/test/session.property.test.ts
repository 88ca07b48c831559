import { nodeClock } from '@spillway/server/time/node-clock';
import { StreamTokens } from '@spillway/server/stream/stream-token';
import { type Credit, openChannel, openCredit } from '@spillway/core';
import { createCoalesce } from '@spillway/core/format/coalesce';
import { openaiChat } from '@spillway/core/format/openai-chat';
import type { EventRun } from '@spillway/core/format/sse';
import { frameOverheadBytes, type GatewayFrame } from '@spillway/core/session';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkProperty } from '../../core/test/support/property.ts';
import { configSchema } from '../src/config/schema.ts';
import { Meter } from '@spillway/server/stream/meter';
import type { SessionLine } from '@spillway/server/session/carrier';
import { SessionResponse } from '@spillway/server/session/session-response';
import { GatewayStream } from '@spillway/server/stream/stream';
import type { ServedReader } from '@spillway/server/stream/served-reader';
import { nobody } from '../../server/test/support/nobody.ts';

/** The model is the text that the provider sent: a letter a chunk, now and then one that cannot be merged. */
function chunkOf(offset: number): EventRun {
  const finish = offset % 11 === 10 ? '"length"' : 'null';
  const bytes = new TextEncoder().encode(
    `data: {"id":"c","choices":[{"index":0,"delta":{"content":"${letterOf(offset)}"},"finish_reason":${finish}}]}\n\n`,
  );
  return { bytes, byteLength: bytes.length, events: 1 };
}

function letterOf(offset: number): string {
  return String.fromCharCode(97 + (offset % 26));
}

function textOf(bytes: Uint8Array): string {
  return [...new TextDecoder().decode(bytes).matchAll(/"content":"(\w*)"/g)].map(([, text]) => text).join('');
}

type Frame = { readonly from: number; readonly to: number; readonly bytes: Uint8Array } | GatewayFrame;

/** A connection on which what was sent is on its way until somebody takes it, or until it is cut. */
class Wire implements SessionLine {
  readonly credit: Credit;
  readonly windowBytes: number;
  readonly onItsWay: Frame[] = [];
  isBlocked = false;
  readonly untakenBytes = 0;
  isResuming = false;

  constructor(windowBytes: number) {
    this.windowBytes = windowBytes;
    this.credit = openCredit({ maxBytes: windowBytes, initial: { bytes: windowBytes } });
  }

  send(frame: GatewayFrame): void {
    this.onItsWay.push(frame);
  }

  sendData(_stream: number, from: number, to: number, bytes: Uint8Array): void {
    this.onItsWay.push({ from, to, bytes });
  }

  delayMs(): number {
    return 0;
  }
}

/** A client with one reader, and what it knows. */
class Client {
  readonly response: SessionResponse;
  readonly reader: ServedReader;
  readonly #from: number | 'now' | 'start';
  readonly #windowBytes: number;
  readonly #connectionWindowBytes: number;
  wire: Wire | undefined;
  text = '';
  /** Behind what it received: of a reader that begins at an offset, that one, also before its first chunk. */
  offset: number;
  /** Where its first chunk was. */
  start: number | undefined;
  acked = 0;
  end: string | undefined;
  error: string | undefined;
  /** What it has to acknowledge: ends of frames, and what they cost. */
  readonly unacked: { readonly to: number; readonly cost: number }[] = [];

  constructor(
    stream: GatewayStream,
    windowBytes: number,
    connectionWindowBytes: number,
    from: number | 'now' | 'start' = 'start',
  ) {
    this.offset = typeof from === 'number' ? from : 0;
    this.#from = from;
    this.#windowBytes = windowBytes;
    this.#connectionWindowBytes = connectionWindowBytes;
    this.response = new SessionResponse({
      clock: nodeClock,
      format: openaiChat,
      answersErrors: true,
      windowBytes,
      from: this.offset,
      url: () => stream.url,
      onAck: () => undefined,
      onClose: () => undefined,
    });
    this.wire = new Wire(connectionWindowBytes);
    this.response.bind(this.wire, 1, 0, 0);
    const credit = [this.response.credit, this.response.creditOf(this.wire)];
    this.reader = stream.attach(this.response, { credit, returns: true, from });
  }

  receive(count: number): void {
    for (const frame of this.wire?.onItsWay.splice(0, count) ?? []) {
      if ('type' in frame) {
        if (frame.type === 'end') this.end = frame.state;
        if (frame.type === 'error') this.error = frame.code;
        continue;
      }
      // 5.7: no hole and nothing twice.
      if (typeof this.#from === 'number' && frame.to > frame.from) expect(frame.from).toBe(this.offset);
      this.start ??= frame.from;
      expect(frame.from).toBe(this.offset === 0 ? this.start : this.offset);
      this.offset = frame.to;
      this.text += textOf(frame.bytes);
      this.unacked.push({
        to: frame.to,
        cost: Math.min(frame.bytes.length + frameOverheadBytes, this.#windowBytes),
      });
    }
    // 5.4, but for a frame that is larger than the window.
    const cost = this.unacked.reduce((sum, frame) => sum + frame.cost, 0);
    if (this.unacked.length > 1)
      expect(cost).toBeLessThanOrEqual(Math.min(this.#windowBytes, this.#connectionWindowBytes));
  }

  ack(count: number): void {
    if (this.wire === undefined) return;
    const last = this.unacked.splice(0, count).at(-1);
    if (last === undefined) return;
    this.acked = last.to;
    // What is said to a connection that is cut is lost.
    expect(this.response.ack(last.to)).toBe(true);
  }

  /** Consumes some without being heard. */
  ackUnheard(count: number): void {
    const last = this.unacked.splice(0, count).at(-1);
    if (last !== undefined) this.acked = last.to;
    this.cut();
  }

  cut(): void {
    this.wire?.credit.close();
    this.wire = undefined;
    this.response.unbind();
    this.reader.connectionLost(0);
  }

  resume(): void {
    if (this.wire !== undefined) this.cut();
    this.wire = new Wire(this.#connectionWindowBytes);
    expect(this.response.bind(this.wire, 1, this.offset, this.acked)).toBe(true);
    this.reader.resumed([this.response.credit, this.response.creditOf(this.wire)]);
  }
}

type Step =
  | { readonly do: 'ack' | 'lose' | 'offer' | 'receive'; readonly who: number; readonly count: number }
  | {
      readonly do: 'cut' | 'join' | 'resume' | 'turn';
      readonly who: number;
      /** Where a reader that joins begins. */
      readonly from?: number | 'now';
    };

const who = fc.nat(3);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('offer' as const, 'receive' as const, 'ack' as const),
      who,
      count: fc.integer({ min: 1, max: 6 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('turn' as const), who }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('lose' as const), who, count: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('cut' as const, 'join' as const), who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('resume' as const), who }) },
);

/** The same, with readers that begin at an offset, or wherever the stream is. */
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: step },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('join' as const),
      who,
      from: fc.oneof(fc.nat(60), fc.constant('now' as const)),
    }),
  },
);

test.each([
  ['whatever is cut, merged, resumed and acknowledged', step],
  ['wherever a reader begins', anyStep],
])('5.8, promise 4: %s, every byte comes once and in order', async (name, steps) => {
  await checkProperty(
    `session: ${name}`,
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3000 }),
      fc.integer({ min: 300, max: 3000 }),
      fc.integer({ min: 300, max: 3000 }),
      fc.array(steps, { minLength: 10, maxLength: 100 }),
      async (channelBytes, windowBytes, connectionWindowBytes, actions) => {
        const config = configSchema.parse({});
        const nothing = (): undefined => undefined;
        const host = {
          clock: nodeClock,
          tokens: new StreamTokens(nodeClock),
          meter: new Meter(),
          began: nothing,
          readerEnded: nothing,
          delivered: nothing,
          tapEnded: nothing,
          openPause: nothing,
          defect: nothing,
        };
        const stream = new GatewayStream({ ...nobody, detach: 'grace' }, config, host);
        const channel = openChannel<EventRun>({
          maxBytes: channelBytes,
          weigh: ({ byteLength }) => byteLength + frameOverheadBytes,
          merge: createCoalesce(openaiChat.delta),
          replay: { maxHeldBytes: channelBytes, merges: true },
        });
        const clients = [new Client(stream, windowBytes, connectionWindowBytes)];
        stream.start(
          {
            log: channel,
            format: openaiChat,
            isEvents: true,
            status: 200,
            reason: '',
            headers: {},
            maxWaitingBytes: channelBytes,
          },
          0,
        );
        await turn();
        for (const action of actions) {
          const client = clients[action.who % clients.length];
          if (client === undefined) break;
          switch (action.do) {
            case 'offer':
              for (let count = 0; count < action.count; count += 1)
                channel.offer(chunkOf(channel.nextOffset));
              break;
            case 'receive':
              client.receive(action.count);
              break;
            case 'ack':
              client.ack(action.count);
              break;
            case 'lose':
              client.ackUnheard(action.count);
              break;
            case 'cut':
              client.cut();
              break;
            case 'resume':
              client.resume();
              break;
            case 'join':
              clients.push(
                new Client(
                  stream,
                  windowBytes,
                  connectionWindowBytes,
                  // No offset is behind the end.
                  typeof action.from === 'number' ? Math.min(action.from, channel.nextOffset) : action.from,
                ),
              );
              break;
            default:
              await turn();
          }
        }
        channel.complete();
        for (const client of clients) {
          client.resume();
          const isOver = (): boolean => client.end !== undefined || client.error !== undefined;
          for (let round = 0; !isOver() && round < 10_000; round += 1) {
            await turn();
            client.receive(100);
            client.ack(100);
          }
          if (client.error !== undefined) {
            // What is not kept, or is inside a merged chunk.
            expect(client.error).toBe('history_gone');
            expect(client.start).toBeUndefined();
            client.response.close();
            continue;
          }
          expect(client.end).toBe('completed');
          const start = client.start ?? channel.nextOffset;
          // Only who came later may have missed what is not kept.
          if (client === clients[0]) expect(client.start ?? 0).toBe(0);
          const expected = Array.from({ length: channel.nextOffset - start }, (_, at) =>
            letterOf(start + at),
          );
          expect(client.text).toBe(expected.join(''));
          client.response.close();
        }
      },
    ),
  );
});

/** Lets everything happen that is due. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
