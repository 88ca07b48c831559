import { createMemoryStore, Gap, openChannel, openCredit, type ReaderOptions, spillTo } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, test } from 'vitest';
import type { SessionLine } from '../src/session/carrier.ts';
import { SessionResponse } from '../src/session/session-response.ts';
import type { GatewayStream } from '../src/stream/stream.ts';
import { openStreams, runOf, startStream, textIn } from './support/own-streams.ts';

type Say = (what: string) => void;

const wait = (clock: VirtualClock, ms: number): Promise<void> =>
  new Promise((resolve) => void clock.after(ms, resolve));

/** A channel with readers of several policies, each at a pace of its own. */
function playChannel(clock: VirtualClock, say: Say): Promise<unknown> {
  const channel = openChannel<string>({
    maxBytes: 200,
    weigh: (text) => text.length,
    merge: (first, second) => first + second,
    maxMergedBytes: 40,
    replay: { maxAgeMs: 3000 },
    measureAge: true,
    clock,
  });
  const policies: [string, ReaderOptions<string>][] = [
    ['coalesces', { overflow: 'coalesce' }],
    ['drops', { overflow: 'drop-oldest', maxBytes: 50 }],
    ['spills', { overflow: spillTo(createMemoryStore<string>({ maxBytes: 100_000 })) }],
  ];
  const read = async (name: string, options: ReaderOptions<string>): Promise<void> => {
    const reader = channel.reader(options);
    while (await reader.ready()) {
      const items = reader.takeAll({ maxItems: 3 });
      const told = items.map((item) => (item instanceof Gap ? `gap ${item.from}-${item.to}` : item));
      say(`${name} ${reader.offset} ${reader.ageMs} ${told.join()}`);
      await wait(clock, clock.random() * 80);
    }
  };
  const write = async (): Promise<void> => {
    for (let word = 0; word < 300; word += 1) {
      await channel.write(`word${word} `);
      await wait(clock, clock.random() * 20);
    }
    channel.complete();
    say(`written, from ${channel.oldestOffset}`);
  };
  return Promise.all([write(), ...policies.map(([name, options]) => read(name, options))]);
}

/** A client of a session, behind a link that takes its time and is cut now and then, with what is on its way. */
class Client {
  text = '';
  end: string | undefined;
  readonly #clock: VirtualClock;
  readonly #say: Say;
  /** The number of its connection. */
  #connection = 0;
  #offset = 0;
  readonly #response: SessionResponse;

  constructor(clock: VirtualClock, stream: GatewayStream, say: Say) {
    this.#clock = clock;
    this.#say = say;
    this.#response = new SessionResponse({
      clock,
      format: openaiChat,
      answersErrors: true,
      windowBytes: 4096,
      url: () => stream.url,
      onAck: (tokens) => stream.acknowledged(tokens),
      onClose: () => undefined,
    });
    const first = this.#connect();
    this.#response.bind(first, 1, 0, 0);
    const creditOf = (line: SessionLine) => [this.#response.credit, this.#response.creditOf(line)];
    const reader = stream.attach(this.#response, { credit: creditOf(first), returns: true, via: 'session' });
    const cut = async (): Promise<void> => {
      for (;;) {
        await wait(clock, 2000 + clock.random() * 5000);
        if (this.end !== undefined) return;
        this.#connection += 1;
        say('cut');
        this.#response.unbind();
        reader.connectionLost(clock.nowMs());
        await wait(clock, clock.random() * 2000);
        const next = this.#connect();
        const isResumed = this.#response.bind(next, 1, this.#offset, this.#offset);
        say(`back at ${this.#offset}: ${isResumed}`);
        reader.resumed(creditOf(next));
      }
    };
    void cut();
  }

  #connect(): SessionLine {
    const connection = this.#connection;
    const credit = openCredit({ maxBytes: 8192, initial: { bytes: 8192 } });
    let busyMs = 0;
    // In order, as one connection has it.
    const arrive = (what: () => void): void => {
      busyMs = Math.max(busyMs, this.#clock.nowMs()) + 1 + this.#clock.random() * 30;
      this.#clock.after(busyMs - this.#clock.nowMs(), () => {
        if (connection === this.#connection) what();
      });
    };
    return {
      credit,
      windowBytes: 8192,
      isBlocked: false,
      untakenBytes: 0,
      isResuming: false,
      delayMs: () => (this.#clock.random() < 0.2 ? this.#clock.random() * 50 : 0),
      send: (frame) =>
        arrive(() => {
          this.#say(JSON.stringify(frame));
          if (frame.type === 'error') this.end = frame.code;
          if (frame.type !== 'end') return;
          this.end = frame.state;
          // Behind its last ack.
          this.#clock.after(100, () => this.#response.close());
        }),
      sendData: (_stream, from, to, bytes) => {
        const text = textIn(Buffer.from(bytes).toString());
        arrive(() => {
          this.#say(`${from}-${to} ${text}`);
          this.text += text;
          this.#offset = to;
          this.#clock.after(this.#clock.random() * 100, () => this.#response.ack(to));
        });
      },
    };
  }
}

/** A run: a channel, streams of models that speak at their own pace, and clients that come back. Returns all that was seen of it. */
async function run(seed: number): Promise<string> {
  const clock = new VirtualClock({ seed });
  const trace: string[] = [];
  const sayOf =
    (who: string): Say =>
    (what) =>
      void trace.push(`${clock.nowMs()} ${who}: ${what}`);
  const { defects, streams } = openStreams([], { windowBytes: 8192 }, clock);
  const clients: { readonly client: Client; readonly written: () => string }[] = [];
  const opened: GatewayStream[] = [];
  let isPlayed = false;
  void playChannel(clock, sayOf('channel')).then(() => (isPlayed = true));
  for (let number = 0; number < 3; number += 1) {
    const say = sayOf(`stream ${number}`);
    const { channel, end, stream } = startStream(streams, { detach: 'grace' }, { clock });
    opened.push(stream);
    say(`${stream.id} ${stream.url}`);
    let written = '';
    const speak = async (): Promise<void> => {
      for (let word = 0; word < 400; word += 1) {
        await wait(clock, clock.random() < 0.02 ? 3000 : clock.random() * 60);
        const text = `${number}.${word} `;
        const event = runOf(text);
        if (channel.offer(event) === 'full') await channel.write(event);
        stream.received(event, true, clock.nowMs());
        written += text;
      }
      end();
    };
    void speak();
    for (const name of ['a', 'b']) {
      const client = new Client(clock, stream, sayOf(`client ${number}${name}`));
      clients.push({ client, written: () => written });
    }
    await clock.advance(clock.random() * 500);
  }
  await clock.advance(300_000);
  for (const { journal } of opened) sayOf('journal')(JSON.stringify(journal.entries));
  sayOf('meter')(JSON.stringify(streams.meter));
  // It was a run in which something happened, and went well.
  expect(defects).toEqual([]);
  expect(isPlayed).toBe(true);
  for (const { client, written } of clients) {
    expect(client.end).toBe('completed');
    expect(client.text).toBe(written());
  }
  // Nobody can come back any more.
  expect([...streams.all()]).toEqual([]);
  return trace.join('\n');
}

test('promise 25: the same seed makes the same run, byte for byte, and another seed another one', async () => {
  const first = await run(1);
  const second = await run(1);
  expect(second === first).toBe(true);
  const other = await run(2);
  expect(other === first).toBe(false);
  for (const seen of ['cut', 'back at', 'gap', 'coalesces', 'spills', '"type":"lag"', 'completed']) {
    expect(first, seen).toContain(seen);
    expect(other, seen).toContain(seen);
  }
  expect(first.split('\n').length).toBeGreaterThan(2000);
});
